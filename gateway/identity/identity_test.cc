#include <sys/stat.h>

#include <map>
#include <set>
#include <string>

#include "gateway/identity/key_ring.h"
#include "gateway/identity/password.h"
#include "gateway/identity/peer_identity.h"
#include "gateway/identity/principals.h"
#include "gateway/identity/secret_token.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixMicros(1'800'000'000'123'456);
constexpr char kId[] = "0190163d-8694-739b-aea5-966c26f8ad91";

TEST(PeerIdentityTest, WhatIsWrittenIsReadBack) {
  for (const char* org : {"default", "a", "0-1"}) {
    const PeerIdentity peer{OrgId(org), AgentId(kId)};
    const auto uri = AgentUri(peer.org, peer.agent);
    ASSERT_TRUE(uri.ok()) << uri.status();
    EXPECT_EQ(*ParseAgentUri(*uri), peer);
  }
}

TEST(PeerIdentityTest, AnythingElseNamesNobody) {
  const std::string id = kId;
  using std::string_literals::operator""s;
  for (const std::string& uri :
       {""s,
        "muster://"s,
        "muster://default"s,
        "muster:///agent/" + id,
        "muster://default/agent/"s,
        "muster://default/agent/x"s,
        "muster://default/agent/" + id + "/",
        "muster://default/agent/" + id + "\0"s,
        "muster://default/agent/" + id + "?x",
        "muster://a/b/agent/" + id,
        "muster://default//agent/" + id,
        "muster://Default/agent/" + id,
        "muster://-a/agent/" + id,
        "muster://a-/agent/" + id,
        "muster://a\0b/agent/"s + id,
        "muster://de%66ault/agent/" + id,
        "muster://a.b/agent/" + id,
        "muster://default/machine/" + id,
        "https://default/agent/" + id,
        "MUSTER://default/agent/" + id,
        " muster://default/agent/" + id,
        "muster://" + std::string(64, 'a') + "/agent/" + id,
        "muster://default/agent/0190163D-8694-739B-AEA5-966C26F8AD91"s}) {
    EXPECT_EQ(ParseAgentUri(uri).status().code(),
              absl::StatusCode::kUnauthenticated)
        << uri;
  }
}

TEST(PeerIdentityTest, ACertificateHasExactlyOneName) {
  const std::string uri = *AgentUri(DefaultOrg(), AgentId(kId));
  EXPECT_TRUE(IdentifyPeer({uri}).ok());
  EXPECT_FALSE(IdentifyPeer({}).ok());
  EXPECT_FALSE(IdentifyPeer({uri, uri}).ok());
}

TEST(KeyRingTest, OneKeySpeaksForAMachine) {
  const AgentId a(kId), b("0190163d-8694-739b-aea5-966c26f8ad92");
  KeyRing keys;
  EXPECT_FALSE(keys.Holds(a, "sha256//1"));
  keys.Put(a, "sha256//1");
  EXPECT_TRUE(keys.Holds(a, "sha256//1"));
  EXPECT_FALSE(keys.Holds(b, "sha256//1"));
  keys.Put(a, "sha256//2");
  EXPECT_FALSE(keys.Holds(a, "sha256//1"));
  EXPECT_TRUE(keys.Holds(a, "sha256//2"));
  keys.Put(a, "");
  EXPECT_FALSE(keys.Holds(a, "sha256//2"));
  EXPECT_FALSE(keys.Holds(a, "")) << "no key is not a key";
}

TEST(PasswordTest, OnlyTheRightOneFitsAndNoTwoHashesAreEqual) {
  const Secret password("correct horse battery");
  const std::string hash = *HashPassword(password);
  EXPECT_TRUE(hash.starts_with("scrypt$15$8$1$"));
  EXPECT_TRUE(CheckPassword(password, hash));
  EXPECT_FALSE(CheckPassword(Secret("correct horse batterz"), hash));
  EXPECT_FALSE(CheckPassword(Secret(), hash));
  EXPECT_NE(*HashPassword(password), hash);
}

TEST(PasswordTest, WhatIsNoHashFitsNothing) {
  for (const char* hash : {"", "scrypt$15$8$1$$", "scrypt$1$8$1$00$00", "plain",
                           "scrypt$15$8$1$zz$zz$"}) {
    EXPECT_FALSE(CheckPassword(Secret("x"), hash)) << hash;
    EXPECT_FALSE(CheckPassword(Secret(), hash)) << hash;
  }
}

TEST(SecretTokenTest, EveryTokenIsNewAndOfItsKind) {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    const Secret join = NewToken(TokenKind::kJoin);
    const Secret access = NewToken(TokenKind::kAccess);
    EXPECT_TRUE(HashToken(TokenKind::kJoin, join.Reveal()).ok());
    EXPECT_TRUE(HashToken(TokenKind::kAccess, access.Reveal()).ok());
    EXPECT_FALSE(HashToken(TokenKind::kAccess, join.Reveal()).ok());
    EXPECT_FALSE(HashToken(TokenKind::kJoin, access.Reveal()).ok());
    seen.insert(join.Reveal());
    seen.insert(access.Reveal());
  }
  EXPECT_EQ(seen.size(), 400u);
}

TEST(SecretTokenTest, AllLettersAreEquallyLikely) {
  std::string letters;
  while (letters.size() < 62 * 1000) {
    letters += NewToken(TokenKind::kAccess).Reveal().substr(4);
  }
  std::map<char, int> counts;
  for (const char c : letters) ++counts[c];
  EXPECT_EQ(counts.size(), 62u);
  // About 1000 each, deviation 32; without rejection eight letters had 1211.
  for (const auto& [c, count] : counts) {
    EXPECT_GT(count, 800) << c;
    EXPECT_LT(count, 1200) << c;
  }
}

TEST(SecretTokenTest, TheHashIsSha256OfTheWholeText) {
  const std::string text = "mst_join_" + std::string(43, '0');
  EXPECT_EQ(*HashToken(TokenKind::kJoin, text),
            "fffd3ffc8d18efa81532b6612510f2dccc988e52fd8b36394c5f99e38d0d1bcc");
}

TEST(SecretTokenTest, AWrongTextIsRefusedAndNotQuoted) {
  const std::string good = "mst_" + std::string(43, 'Z');
  ASSERT_TRUE(HashToken(TokenKind::kAccess, good).ok());
  for (const std::string& text :
       {std::string(), good + "Z", good.substr(0, 46), good + "\n", "x" + good,
        "MST_" + std::string(43, 'Z'), "mst_" + std::string(42, 'Z') + "_",
        std::string(1'000'000, 'Z')}) {
    const absl::Status status = HashToken(TokenKind::kAccess, text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(std::string(ToStd(status.message())), Not(HasSubstr("ZZZ")));
  }
}

TEST(SecretTokenTest, HashesAreTheSameOrNot) {
  EXPECT_TRUE(SameHash("abc", "abc"));
  EXPECT_FALSE(SameHash("abc", "abd"));
  EXPECT_FALSE(SameHash("abc", "ab"));
}

std::string Token(const AdminToken& token) {
  std::string line = *ReadFile(token.path, 100);
  EXPECT_TRUE(line.ends_with('\n'));
  line.pop_back();
  return line;
}

TEST(AdminTokenTest, AFreshFolderGetsOneThatOnlyItsOwnerCanRead) {
  TempDir dir;
  const auto made = OpenAdminToken(dir.path(), kNow);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->created);
  EXPECT_EQ(*HashToken(TokenKind::kAccess, Token(*made)), made->hash);
  struct stat st;
  ASSERT_EQ(stat(made->path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777u, 0600u);
  EXPECT_THAT(*ReadFile(dir.File("admin-token.sha256"), 100),
              Not(HasSubstr("mst_")));
}

TEST(AdminTokenTest, ItStaysEvenIfTheOperatorTookTheFileAway) {
  TempDir dir;
  const std::string hash = OpenAdminToken(dir.path(), kNow)->hash;
  ASSERT_TRUE(RemoveTree(dir.File("admin-token")).ok());
  const auto again = OpenAdminToken(dir.path(), kNow);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->hash, hash);
  EXPECT_FALSE(FileExists(again->path));
}

TEST(AdminTokenTest, AStartThatEndedBetweenTheFilesIsFinished) {
  TempDir dir;
  const std::string hash = OpenAdminToken(dir.path(), kNow)->hash;
  ASSERT_TRUE(RemoveTree(dir.File("admin-token.sha256")).ok());
  EXPECT_EQ(OpenAdminToken(dir.path(), kNow)->hash, hash);
  EXPECT_TRUE(FileExists(dir.File("admin-token.sha256")));
}

TEST(AdminTokenTest, AResetReplacesIt) {
  TempDir dir;
  const AdminToken before = *OpenAdminToken(dir.path(), kNow);
  const AdminToken after = *ResetAdminToken(dir.path());
  EXPECT_NE(after.hash, before.hash);
  EXPECT_EQ(*HashToken(TokenKind::kAccess, Token(after)), after.hash);
  EXPECT_EQ(OpenAdminToken(dir.path(), kNow)->hash, after.hash);
}

// What was asked for with the old one until then is asked for by nobody any
// more.
TEST(AdminTokenTest, AResetCountsFromWhenAGatewayTakesIt) {
  TempDir dir;
  const auto since = [&](absl::Time now) {
    return OpenAdminToken(dir.path(), now)->since;
  };
  EXPECT_EQ(since(kNow), absl::InfinitePast());
  ASSERT_TRUE(ResetAdminToken(dir.path()).ok());
  EXPECT_EQ(since(kNow), kNow);
  EXPECT_EQ(since(kNow + absl::Hours(1)), kNow);
  ASSERT_TRUE(ResetAdminToken(dir.path()).ok());
  EXPECT_EQ(since(kNow + absl::Hours(2)), kNow + absl::Hours(2));
}

TEST(AdminTokenTest, DamageIsNamedAndAResetMendsIt) {
  TempDir dir;
  ASSERT_TRUE(
      WriteFileDurably(dir.File("admin-token.sha256"), "junk", 0600).ok());
  const absl::Status status = OpenAdminToken(dir.path(), kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(ToStd(status.message())),
              HasSubstr(dir.File("admin-token.sha256")));
  ASSERT_TRUE(ResetAdminToken(dir.path()).ok());
  EXPECT_TRUE(OpenAdminToken(dir.path(), kNow).ok());
}

}  // namespace
}  // namespace muster::gateway

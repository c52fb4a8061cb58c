#include "libprotocol/base/address_range.h"

#include <ostream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"

namespace muster {
namespace {

struct ContainsCase {
  std::string name;
  std::string range;
  std::string address;
  bool inside;
};

void PrintTo(const ContainsCase& c, std::ostream* out) { *out << c.name; }

class AddressRangeContains : public testing::TestWithParam<ContainsCase> {};

TEST_P(AddressRangeContains, SaysWhetherTheAddressIsInIt) {
  const auto range = AddressRange::Parse(GetParam().range);
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(range->Contains(GetParam().address), GetParam().inside);
}

INSTANTIATE_TEST_SUITE_P(
    Boundaries, AddressRangeContains,
    testing::Values(
        ContainsCase{"FirstOfTen", "10.0.0.0/8", "10.0.0.0", true},
        ContainsCase{"LastOfTen", "10.0.0.0/8", "10.255.255.255", true},
        ContainsCase{"BeforeTen", "10.0.0.0/8", "9.255.255.255", false},
        ContainsCase{"AfterTen", "10.0.0.0/8", "11.0.0.0", false},
        ContainsCase{"WithinAByte", "192.168.4.0/22", "192.168.7.255", true},
        ContainsCase{"BeyondIt", "192.168.4.0/22", "192.168.8.0", false},
        ContainsCase{"OneAddress", "192.0.2.7", "192.0.2.7", true},
        ContainsCase{"ItsNeighbour", "192.0.2.7", "192.0.2.6", false},
        ContainsCase{"ThirtyTwoBits", "192.0.2.7/32", "192.0.2.7", true},
        ContainsCase{"AllOfV4", "0.0.0.0/0", "203.0.113.9", true},
        ContainsCase{"AllOfV4HoldsNoV6", "0.0.0.0/0", "2001:db8::1", false},
        ContainsCase{"Mapped", "10.0.0.0/8", "::ffff:10.1.2.3", true},
        ContainsCase{"MappedOutside", "10.0.0.0/8", "::ffff:11.1.2.3", false},
        ContainsCase{"MappedAsWritten", "::ffff:10.0.0.0/104", "10.1.2.3",
                     true},
        ContainsCase{"V6", "2001:db8::/32", "2001:db8:ffff::1", true},
        ContainsCase{"V6Outside", "2001:db8::/32", "2001:db9::1", false},
        ContainsCase{"V6OneAddress", "::1", "::1", true},
        ContainsCase{"V6HostBits", "2001:db8::/127", "2001:db8::1", true},
        ContainsCase{"V6HostBitsBeyond", "2001:db8::/127", "2001:db8::2",
                     false},
        ContainsCase{"AllOfV6HoldsNoV4", "::/0", "10.1.2.3", false},
        ContainsCase{"AllOfV6HoldsNoMapped", "::/0", "::ffff:10.1.2.3", false},
        ContainsCase{"AllOfV6", "::/0", "fe80::1", true},
        ContainsCase{"AZoneIsLeftOut", "fe80::/10", "fe80::1%eth0", true},
        ContainsCase{"NoAddress", "0.0.0.0/0", "web-1", false},
        ContainsCase{"Nothing", "0.0.0.0/0", "", false}),
    [](const auto& test) { return test.param.name; });

std::string ErrorOf(std::string_view text) {
  return std::string(ToStd(AddressRange::Parse(text).status().message()));
}

TEST(AddressRangeTest, WhatIsNoAddressIsRefused) {
  for (const char* text :
       {"", "/8", "web-1", "10.0.0", "10.0.0.0.0", "10.0.0.256", " 10.0.0.1",
        "10.0.0.1 ", "010.0.0.1", "::1%lo", "[::1]", "10.0.0.1:80", "*"}) {
    EXPECT_EQ(ErrorOf(text),
              "must be an address or a network such as 10.0.0.0/8")
        << text;
  }
  EXPECT_FALSE(AddressRange::Parse(std::string_view("10.0.0.1\0", 9)).ok());
}

TEST(AddressRangeTest, APrefixIsBounded) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
                           "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/999999"}) {
    EXPECT_EQ(ErrorOf(text), "must have a prefix of 0 to 32 after the slash")
        << text;
  }
  EXPECT_EQ(ErrorOf("::/129"),
            "must have a prefix of 0 to 128 after the slash");
}

TEST(AddressRangeTest, BitsBehindThePrefixAreAMistake) {
  EXPECT_EQ(ErrorOf("10.1.2.3/8"),
            "must have no bits behind its prefix; its network is 10.0.0.0/8");
  EXPECT_EQ(
      ErrorOf("2001:db8::1/32"),
      "must have no bits behind its prefix; its network is 2001:db8::/32");
}

}  // namespace
}  // namespace muster

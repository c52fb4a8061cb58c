#include "tools/swarm/command_book.h"

#include "libprotocol/wire/proto_time.h"

namespace muster::swarm {
namespace {

constexpr char kOutput[] = "swarm\n";

}  // namespace

bool CommandBook::Take(const v1::CommandOrder& order, absl::Time wall) {
  if (order.dispatch_seq() <= seen_high_) return false;
  seen_high_ = order.dispatch_seq();
  Open& open = open_[order.command_id()];
  open.output.set_command_id(order.command_id());
  open.output.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  open.output.mutable_chunk()->set_data(kOutput);
  open.update.set_command_id(order.command_id());
  open.update.set_dispatch_seq(order.dispatch_seq());
  open.update.set_state(v1::COMMAND_STATE_SUCCEEDED);
  open.update.set_exit_code(0);
  *open.update.mutable_started_at() = wire::ToProto(wall);
  *open.update.mutable_finished_at() = wire::ToProto(wall);
  open.update.set_stdout_bytes(open.output.chunk().data().size());
  return true;
}

void CommandBook::UpdateAcked(const v1::CommandUpdateAck& ack) {
  const auto it = open_.find(ack.command_id());
  if (it == open_.end() || ack.state() != it->second.update.state()) return;
  it->second.update_acked = true;
  ForgetIfDone(it);
}

void CommandBook::OutputAcked(const v1::TransferAck& ack) {
  const auto it = open_.find(ack.command_id());
  if (it == open_.end() || ack.offset() < it->second.update.stdout_bytes()) {
    return;
  }
  it->second.output_acked = true;
  ForgetIfDone(it);
}

void CommandBook::ForgetIfDone(std::map<std::string, Open>::iterator it) {
  if (it->second.update_acked && it->second.output_acked) open_.erase(it);
}

agent::CommandsForHello CommandBook::ForHello() const {
  agent::CommandsForHello out;
  out.seen_high = seen_high_;
  for (const auto& [id, open] : open_) out.open_command_ids.push_back(id);
  return out;
}

}  // namespace muster::swarm

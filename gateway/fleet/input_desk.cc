#include "gateway/fleet/input_desk.h"

#include <algorithm>

namespace muster::gateway {

InputDesk::InputDesk(EventLoop& loop, Machines& machines, CommandDesk& commands,
                     Options options)
    : loop_(loop), machines_(machines), commands_(commands), options_(options) {
  commands_.OnMoved([this](const CommandRecord& now) { CommandMoved(now); });
}

std::optional<InputDesk::Progress> InputDesk::Write(
    const CommandId& id, uint64_t offset, std::string_view data, bool end,
    std::optional<WindowSize> size) {
  const auto it = inputs_.find(id);
  if (it == inputs_.end() || !it->second.reads) return std::nullopt;
  Input& input = it->second;
  if (offset > input.accepted()) return input.progress();
  if (input.closed) return Progress{offset + data.size(), input.taken, true};
  if (size) input.size = {input.accepted(), *size};
  data.remove_prefix(std::min<size_t>(data.size(), input.accepted() - offset));
  const size_t room =
      std::min(options_.bytes_per_command_max -
                   std::min(options_.bytes_per_command_max, input.bytes.size()),
               options_.bytes_max - std::min(options_.bytes_max, bytes_));
  const std::string_view fits = data.substr(0, room);
  input.bytes += fits;
  bytes_ += fits.size();
  if (end && fits.size() == data.size()) input.end_at = input.accepted();
  SendTo(input.agent);
  return input.progress();
}

std::optional<InputDesk::Progress> InputDesk::Find(const CommandId& id) const {
  const auto it = inputs_.find(id);
  if (it == inputs_.end() || !it->second.reads) return std::nullopt;
  return it->second.progress();
}

void InputDesk::Take(Machine& machine, const InputWord& word) {
  const CommandRecord* command = commands_.Find(word.id);
  if (command == nullptr || command->agent != machine.record.id ||
      IsTerminal(command->state) ||
      !(command->spec.terminal || command->spec.input_streamed)) {
    return;
  }
  Input& input = inputs_[word.id];
  input.agent = machine.record.id;
  const uint64_t there = std::max(word.taken, word.kept);
  // What a former life of the gateway sent waits there to be read. Until it has
  // been, nobody knows how much more fits.
  if (!input.reads && there > word.taken) return;
  // Or the machine has not got what a former life of the gateway sent to it.
  if (!input.reads || (word.again && there < input.taken)) {
    bytes_ -= input.bytes.size();
    input.bytes.clear();
    input.taken = input.sent = input.kept = there;
    input.reads = true;
  }
  Drop(input, word.taken);
  input.kept = std::min(word.again ? there : std::max(input.kept, there),
                        input.accepted());
  if (word.again) {
    input.sent = input.taken;
    input.end_sent = false;
  }
  input.closed |= word.closed;
  if (input.closed) Drop(input, input.accepted());
  SendTo(input.agent);
  Notify(input);
}

void InputDesk::Drop(Input& input, uint64_t taken) {
  // One that says it took what it was never sent must not move us.
  taken = std::clamp(taken, input.taken, input.accepted());
  bytes_ -= taken - input.taken;
  input.bytes.erase(0, taken - input.taken);
  input.taken = taken;
  input.sent = std::max(input.sent, taken);
}

void InputDesk::SendTo(const AgentId& agent) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->link == nullptr) return;
  for (auto& [id, input] : inputs_) {
    if (input.agent == agent) Send(id, input, *machine->link);
  }
}

void InputDesk::Send(const CommandId& id, Input& input, LinkPort& link) {
  while (!input.closed) {
    InputPart part;
    part.command = id;
    part.offset = input.sent;
    if (input.size && input.size->first <= input.sent) {
      part.size = std::exchange(input.size, {})->second;
    }
    // Not beyond a change of size, which comes between two bytes.
    const uint64_t until = input.size ? input.size->first : input.accepted();
    const uint64_t on_its_way = SentTo(input.agent);
    const uint64_t room = options_.sent_per_machine_max -
                          std::min(options_.sent_per_machine_max, on_its_way);
    const size_t bytes = static_cast<size_t>(std::min<uint64_t>(
        {until - input.sent, room, options_.part_bytes_max}));
    part.data = input.bytes.substr(input.sent - input.taken, bytes);
    input.sent += bytes;
    part.end = input.end_at == input.sent && !input.end_sent;
    if (part.data.empty() && !part.end && !part.size) return;
    input.end_sent |= part.end;
    link.SendInput(part);
  }
}

uint64_t InputDesk::SentTo(const AgentId& agent) const {
  uint64_t bytes = 0;
  for (const auto& [id, input] : inputs_) {
    if (input.agent == agent) {
      bytes +=
          input.sent - std::min(input.sent, std::max(input.taken, input.kept));
    }
  }
  return bytes;
}

void InputDesk::CommandMoved(const CommandRecord& now) {
  const auto it = inputs_.find(now.id);
  if (it == inputs_.end() || !IsTerminal(now.state)) return;
  bytes_ -= it->second.bytes.size();
  Notify(it->second);
  inputs_.erase(it);
}

bool InputDesk::Watch(const CommandId& id, Changed changed) {
  const CommandRecord* command = commands_.Find(id);
  if (command == nullptr || IsTerminal(command->state)) {
    loop_.Post(std::move(changed));
    return true;
  }
  Input& input = inputs_[id];
  input.agent = command->agent;
  if (input.watchers.size() >= options_.watchers_per_command_max) return false;
  input.watchers.push_back(std::move(changed));
  return true;
}

void InputDesk::WakeWatchers() {
  for (auto& [id, input] : inputs_) Notify(input);
}

void InputDesk::Notify(Input& input) {
  for (Changed& changed : std::exchange(input.watchers, {})) {
    // It may write, and change what is here.
    loop_.Post(std::move(changed));
  }
}

}  // namespace muster::gateway

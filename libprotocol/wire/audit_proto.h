// Records of the audit log in messages ⇄ in code.

#ifndef MUSTER_LIBPROTOCOL_WIRE_AUDIT_PROTO_H_
#define MUSTER_LIBPROTOCOL_WIRE_AUDIT_PROTO_H_

#include "libprotocol/base/audit_record.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/audit.pb.h"

namespace muster::wire {

inline v1::AuditRecord ToProto(const AuditRecord& record) {
  v1::AuditRecord out;
  out.set_sequence(record.sequence);
  out.set_org_id(record.org.str());
  *out.mutable_at() = ToProto(record.at);
  out.set_principal(record.principal);
  out.set_from(record.from);
  out.set_method(record.method);
  out.set_target(record.target);
  out.set_result(record.result);
  out.set_request_id(record.request_id);
  out.set_previous_hash(record.previous_hash);
  out.set_hash(record.hash);
  return out;
}

inline AuditRecord FromProto(const v1::AuditRecord& record) {
  AuditRecord out;
  out.sequence = record.sequence();
  out.org = OrgId(record.org_id());
  out.at = FromProto(record.at());
  out.principal = record.principal();
  out.from = record.from();
  out.method = record.method();
  out.target = record.target();
  out.result = record.result();
  out.request_id = record.request_id();
  out.previous_hash = record.previous_hash();
  out.hash = record.hash();
  return out;
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_AUDIT_PROTO_H_

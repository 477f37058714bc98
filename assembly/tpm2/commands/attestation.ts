// Part 3, 18: attestation commands, and TPM2_NV_Certify (31.16).
import { attestBegin, attestCheck, attestSign } from "../attest";
import { timeFillInfo } from "../clock";
import { commandAuditGetDigest } from "../command-audit";
import { TPM2B, copy2B, equal2B } from "../cursor";
import { g, gp, gr } from "../data";
import {
  MAX_NV_BUFFER_SIZE,
  TPM_ALG_NULL,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_H,
  TPM_RC_NV_RANGE,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_TICKET,
  TPM_RC_TYPE,
  TPM_RC_VALUE,
  TPM_RH_NULL,
  TPM_ST_ATTEST_CERTIFY,
  TPM_ST_ATTEST_COMMAND_AUDIT,
  TPM_ST_ATTEST_CREATION,
  TPM_ST_ATTEST_NV,
  TPM_ST_ATTEST_NV_DIGEST,
  TPM_ST_ATTEST_QUOTE,
  TPM_ST_ATTEST_SESSION_AUDIT,
  TPM_ST_ATTEST_TIME,
} from "../generated/constants";
import {
  CertifyCreation_In,
  CertifyCreation_Out,
  Certify_In,
  Certify_Out,
  GetCommandAuditDigest_In,
  GetCommandAuditDigest_Out,
  GetSessionAuditDigest_In,
  GetSessionAuditDigest_Out,
  GetTime_In,
  GetTime_Out,
  NV_Certify_In,
  NV_Certify_Out,
  Quote_In,
  Quote_Out,
} from "../generated/records";
import {
  SIZEOF_TPML_PCR_SELECTION_RECORD,
  SIZEOF_TPMT_TK_CREATION_RECORD,
  TPMT_TK_CREATION,
} from "../generated/structures";
import { HASH_RECORD_SIZE, cryptHashEnd2B, cryptHashStart } from "../hash";
import { nvAttributes, nvData, nvHashData, nvIndexEntry, nvIndexName } from "../nv";
import { nvReadAccessChecks } from "../nv-access";
import { NvEntry } from "../nv-memory";
import { loadedObject } from "../object";
import { pcrComputeCurrentDigest } from "../pcr";
import { isSplitSign } from "../schemes";
import { SESSION_IS_AUDIT, sessionGet } from "../session";
import { ticketComputeCreation } from "../tickets";

export function Certify(input: Certify_In, output: Certify_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_2, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const certified = loadedObject(input.objectHandle);
  const info = attestBegin(TPM_ST_ATTEST_CERTIFY, input.signHandle, scheme, input.qualifyingData);
  copy2B(info.attested.certify.name, certified.name);
  // An anonymous scheme must not let two signatures be linked.
  if (!isSplitSign(scheme.scheme)) copy2B(info.attested.certify.qualifiedName, certified.qualifiedName);
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.certifyInfo, output.signature);
}

const TICKET: usize = memory.data(SIZEOF_TPMT_TK_CREATION_RECORD, 16);

export function CertifyCreation(input: CertifyCreation_In, output: CertifyCreation_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_1, TPM_RC_P + TPM_RC_3);
  if (rc) return rc;
  const certified = loadedObject(input.objectHandle);
  const expected = changetype<TPMT_TK_CREATION>(TICKET);
  ticketComputeCreation(input.creationTicket.hierarchy, certified.name, input.creationHash, expected);
  if (!equal2B(expected.digest, input.creationTicket.digest)) return TPM_RC_TICKET + TPM_RC_P + TPM_RC_4;
  const info = attestBegin(TPM_ST_ATTEST_CREATION, input.signHandle, scheme, input.qualifyingData);
  copy2B(info.attested.creation.objectName, certified.name);
  copy2B(info.attested.creation.creationHash, input.creationHash);
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.certifyInfo, output.signature);
}

export function Quote(input: Quote_In, output: Quote_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_1, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const info = attestBegin(TPM_ST_ATTEST_QUOTE, input.signHandle, scheme, input.qualifyingData);
  const hashAlg = scheme.details.rsassa.hashAlg;
  if (hashAlg == TPM_ALG_NULL) return TPM_RC_SCHEME + TPM_RC_P + TPM_RC_2;
  const quote = info.attested.quote;
  pcrComputeCurrentDigest(hashAlg, input.PCRselect, quote.pcrDigest);
  memory.copy(changetype<usize>(quote.pcrSelect), changetype<usize>(input.PCRselect), SIZEOF_TPML_PCR_SELECTION_RECORD);
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.quoted, output.signature);
}

export function GetSessionAuditDigest(input: GetSessionAuditDigest_In, output: GetSessionAuditDigest_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_2, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const session = sessionGet(input.sessionHandle);
  if ((session.attributes & SESSION_IS_AUDIT) == 0) return TPM_RC_TYPE + TPM_RC_H + TPM_RC_3;
  const info = attestBegin(TPM_ST_ATTEST_SESSION_AUDIT, input.signHandle, scheme, input.qualifyingData);
  copy2B(info.attested.sessionAudit.sessionDigest, session.u2);
  info.attested.sessionAudit.exclusiveSession = g.exclusiveAuditSession == input.sessionHandle ? 1 : 0;
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.auditInfo, output.signature);
}

export function GetCommandAuditDigest(input: GetCommandAuditDigest_In, output: GetCommandAuditDigest_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_2, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const info = attestBegin(TPM_ST_ATTEST_COMMAND_AUDIT, input.signHandle, scheme, input.qualifyingData);
  const audit = info.attested.commandAudit;
  audit.digestAlg = gp.auditHashAlg;
  audit.auditCounter = gp.auditCounter;
  copy2B(audit.auditDigest, gr.commandAuditDigest);
  commandAuditGetDigest(audit.commandDigest);
  const result = attestSign(input.signHandle, scheme, input.qualifyingData, output.auditInfo, output.signature);
  // A signed report ends the log: the next audited command starts another.
  if (result == 0 && input.signHandle != TPM_RH_NULL) gr.commandAuditDigest.size = 0;
  return result;
}

export function GetTime(input: GetTime_In, output: GetTime_Out): u32 {
  const scheme = input.inScheme;
  const rc = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_2, TPM_RC_P + TPM_RC_2);
  if (rc) return rc;
  const info = attestBegin(TPM_ST_ATTEST_TIME, input.signHandle, scheme, input.qualifyingData);
  const time = info.attested.time;
  time.time.time = g.time;
  timeFillInfo(time.time.clockInfo);
  time.firmwareVersion = ((<u64>gp.firmwareV1) << 32) + gp.firmwareV2;
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.timeInfo, output.signature);
}

const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Certifies the data, or with size and offset 0 their digest. */
export function NV_Certify(input: NV_Certify_In, output: NV_Certify_Out): u32 {
  const scheme = input.inScheme;
  const wrong = attestCheck(input.signHandle, scheme, TPM_RC_H + TPM_RC_1, TPM_RC_P + TPM_RC_2);
  if (wrong) return wrong;
  const entry = changetype<NvEntry>(nvIndexEntry(input.nvIndex));
  const rc = nvReadAccessChecks(input.authHandle, input.nvIndex, nvAttributes(entry));
  if (rc) return rc;
  const dataSize: u32 = entry.index.publicArea.dataSize;
  const size: u32 = input.size;
  const offset: u32 = input.offset;
  if (size + offset > dataSize) return TPM_RC_NV_RANGE;
  if (size > MAX_NV_BUFFER_SIZE) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_3;
  const digestOnly = size == 0 && offset == 0;
  const type = digestOnly ? TPM_ST_ATTEST_NV_DIGEST : TPM_ST_ATTEST_NV;
  const attested = attestBegin(type, input.signHandle, scheme, input.qualifyingData).attested;
  nvIndexName(entry, attested.nv.indexName);
  if (digestOnly) {
    cryptHashStart(WORK, scheme.details.rsassa.hashAlg);
    nvHashData(WORK, entry, 0, dataSize);
    cryptHashEnd2B(WORK, attested.nvDigest.nvDigest);
  } else {
    attested.nv.offset = offset;
    attested.nv.nvContents.size = size;
    memory.copy(attested.nv.nvContents.buffer, nvData(entry) + offset, size);
  }
  return attestSign(input.signHandle, scheme, input.qualifyingData, output.certifyInfo, output.signature);
}

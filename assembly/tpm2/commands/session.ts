// Part 3, 11: session commands.
import { TPM2B, copy2B } from "../cursor";
import {
  TPM_ALG_CFB,
  TPM_ALG_NULL,
  TPM_ALG_XOR,
  TPM_HT_NV_INDEX,
  TPM_HT_TRANSIENT,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_4,
  TPM_RC_H,
  TPM_RC_HANDLE,
  TPM_RC_MODE,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RC_VALUE,
  TPM_RH_NULL,
} from "../generated/constants";
import { PolicyRestart_In, StartAuthSession_In, StartAuthSession_Out } from "../generated/records";
import { handleType } from "../handles";
import { digestSizeOf } from "../hash";
import { isNvPinFail, isNvPinPass, nvAttributes } from "../nv";
import { nvFind } from "../nv-memory";
import { OBJECT_PUBLIC_ONLY, objectOf } from "../object";
import { decryptSalt } from "../salt";
import { sessionCreate, sessionGet, sessionResetPolicyData } from "../session";

const SALT: usize = memory.data(2 + 68, 8);

export function StartAuthSession(input: StartAuthSession_In, output: StartAuthSession_Out): u32 {
  if (input.nonceCaller.size < 16 || input.nonceCaller.size > digestSizeOf(input.authHash)) {
    return TPM_RC_SIZE + TPM_RC_P + TPM_RC_1;
  }
  const salt = changetype<TPM2B>(SALT);
  salt.size = 0;
  if (input.tpmKey != TPM_RH_NULL) {
    const rc = decryptSalt(input, salt);
    if (rc) return rc;
  } else if (input.encryptedSalt.size != 0) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_2;
  const rc = checkBind(input.bind);
  if (rc) return rc;
  const algorithm = input.symmetric.algorithm;
  if (algorithm != TPM_ALG_NULL && algorithm != TPM_ALG_XOR && input.symmetric.mode.aes != TPM_ALG_CFB) {
    return TPM_RC_MODE + TPM_RC_P + TPM_RC_4;
  }
  const result = sessionCreate(
    input.sessionType,
    input.authHash,
    input.nonceCaller,
    input.symmetric,
    input.bind,
    salt,
    changetype<usize>(output),
  );
  memory.fill(SALT, 0, 2 + 68);
  if (result == 0) copy2B(output.nonceTPM, sessionGet(output.sessionHandle).nonceTPM);
  return result;
}

/** An entity without authValue at hand, or one that counts uses, binds no session. */
function checkBind(bind: u32): u32 {
  if (handleType(bind) == TPM_HT_TRANSIENT) {
    const object = objectOf(bind);
    if (object != null && object.attributes & OBJECT_PUBLIC_ONLY) return TPM_RC_HANDLE + TPM_RC_H + TPM_RC_2;
  } else if (handleType(bind) == TPM_HT_NV_INDEX) {
    const entry = nvFind(bind);
    if (entry != null) {
      const attributes = nvAttributes(entry);
      if (isNvPinFail(attributes) || isNvPinPass(attributes)) return TPM_RC_HANDLE + TPM_RC_H + TPM_RC_2;
    }
  }
  return 0;
}

export function PolicyRestart(input: PolicyRestart_In): u32 {
  sessionResetPolicyData(sessionGet(input.sessionHandle));
  return 0;
}

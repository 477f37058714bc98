// The HMACs by which sessions authorize commands and vouch for responses (Part 1, 19.6).
import {
  PIPELINE_HASH,
  UNDEFINED_INDEX,
  associatedHandleAt,
  command,
  inputAuthAt,
  nonceCallerAt,
  sessionAttributesAt,
  sessionHandleAt,
} from "./command";
import { computeCpHash, rpHash } from "./cp-hash";
import { TPM2B, concat2B, copy2B } from "./cursor";
import { entityAuthValue } from "./entity";
import { TPM_RH_UNASSIGNED } from "./generated/constants";
import { SESSION } from "./generated/engine-records";
import { cryptHmacEnd2B, cryptHmacStart, cryptHmacUpdate2B, cryptHmacUpdateInt } from "./hash";
import { SESSION_INCLUDE_AUTH, sessionGet } from "./session";

const AUTH: usize = memory.data(2 + 64, 8);
const KEY: usize = memory.data(2 + 64 + 64, 8);

/** sessionKey, and the authValue of the entity unless the session is bound to it. */
function hmacKey(i: u32, session: SESSION): TPM2B {
  const key = changetype<TPM2B>(KEY);
  copy2B(key, session.sessionKey);
  if (session.attributes & SESSION_INCLUDE_AUTH) {
    const auth = changetype<TPM2B>(AUTH);
    entityAuthValue(associatedHandleAt(i), auth);
    concat2B(key, auth);
    memory.fill(AUTH, 0, 2 + 64);
  }
  return key;
}

/** HMAC over cpHash, nonces and attributes (Part 1, 19.6.5); empty when neither side has anything to key it with. */
export function computeCommandHmac(i: u32, out: TPM2B): void {
  const session = sessionGet(sessionHandleAt(i));
  const key = hmacKey(i, session);
  if (key.size == 0 && inputAuthAt(i).size == 0) {
    out.size = 0;
    return;
  }
  const cpHash = computeCpHash(session.authHashAlg);
  cryptHmacStart(PIPELINE_HASH, session.authHashAlg, key.buffer, key.size);
  memory.fill(KEY, 0, 2 + 64 + 64);
  cryptHmacUpdate2B(PIPELINE_HASH, cpHash);
  cryptHmacUpdate2B(PIPELINE_HASH, nonceCallerAt(i));
  cryptHmacUpdate2B(PIPELINE_HASH, session.nonceTPM);
  // The first session vouches for the nonces of those that decrypt and encrypt.
  if (i == 0 && associatedHandleAt(0) != TPM_RH_UNASSIGNED) {
    const decrypt = command.decryptSession;
    const encrypt = command.encryptSession;
    if (decrypt != UNDEFINED_INDEX && decrypt != 0) {
      cryptHmacUpdate2B(PIPELINE_HASH, sessionGet(sessionHandleAt(decrypt)).nonceTPM);
    }
    if (encrypt != UNDEFINED_INDEX && encrypt != 0 && encrypt != decrypt) {
      cryptHmacUpdate2B(PIPELINE_HASH, sessionGet(sessionHandleAt(encrypt)).nonceTPM);
    }
  }
  cryptHmacUpdateInt(PIPELINE_HASH, 1, sessionAttributesAt(i));
  cryptHmacEnd2B(PIPELINE_HASH, out);
}

/** HMAC over rpHash, nonces and attributes (Part 1, 19.6.5); `out` stays as it is when neither side has anything to key it with. */
export function computeResponseHmac(i: u32, session: SESSION, out: TPM2B, parameters: usize, parameterSize: u32): void {
  const digest = rpHash(session.authHashAlg, parameters, parameterSize);
  const key = hmacKey(i, session);
  if (key.size == 0 && inputAuthAt(i).size == 0) return;
  cryptHmacStart(PIPELINE_HASH, session.authHashAlg, key.buffer, key.size);
  memory.fill(KEY, 0, 2 + 64 + 64);
  cryptHmacUpdate2B(PIPELINE_HASH, digest);
  cryptHmacUpdate2B(PIPELINE_HASH, session.nonceTPM);
  cryptHmacUpdate2B(PIPELINE_HASH, nonceCallerAt(i));
  cryptHmacUpdateInt(PIPELINE_HASH, 1, sessionAttributesAt(i));
  cryptHmacEnd2B(PIPELINE_HASH, out);
}

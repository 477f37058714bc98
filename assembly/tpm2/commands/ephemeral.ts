// Part 3, 19: ephemeral EC keys.
import { commit, newCommitScalar } from "../commit";
import { TPM2B, copy2B } from "../cursor";
import { eccIsPointOnCurve, eccParameterBytes, eccPointMultiply, eccReduce } from "../crypt-ecc";
import {
  MAX_DIGEST_SIZE,
  MAX_ECC_KEY_BYTES,
  TPM_ALG_ECC,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_ECC_POINT,
  TPM_RC_H,
  TPM_RC_HASH,
  TPM_RC_KEY,
  TPM_RC_NO_RESULT,
  TPM_RC_P,
  TPM_RC_SCHEME,
  TPM_RC_SIZE,
  TPM_RC_TYPE,
} from "../generated/constants";
import { Commit_In, Commit_Out, EC_Ephemeral_In, EC_Ephemeral_Out } from "../generated/records";
import { SIZEOF_TPMS_ECC_POINT_RECORD, TPMS_ECC_POINT } from "../generated/structures";
import { cryptHashBlock } from "../hash";
import { EMPTY_2B } from "../kdf";
import { OBJECT_PUBLIC_ONLY, loadedObject } from "../object";
import { PROFILE_NO_ECC_KEY_DERIVATION, profileRequires } from "../profile";
import { isSplitSign } from "../schemes";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const R: usize = memory.data(2 + MAX_ECC_KEY_BYTES, 8);
const X2: usize = memory.data(2 + MAX_DIGEST_SIZE, 8);
const P2: usize = memory.data(SIZEOF_TPMS_ECC_POINT_RECORD, 8);

function emptyPoint(point: TPMS_ECC_POINT): void {
  point.x.size = 0;
  point.y.size = 0;
}

export function Commit(input: Commit_In, output: Commit_Out): u32 {
  if (profileRequires(PROFILE_NO_ECC_KEY_DERIVATION)) return TPM_RC_TYPE;
  const key = loadedObject(input.signHandle);
  const area = key.publicArea;
  if (area.type != TPM_ALG_ECC) return TPM_RC_KEY + H1;
  const curve = area.parameters.eccDetail.curveID;
  if (!isSplitSign(area.parameters.eccDetail.scheme.scheme)) return TPM_RC_SCHEME + H1;
  if ((input.s2.size == 0) != (input.y2.size == 0)) return TPM_RC_SIZE + TPM_RC_P + TPM_RC_3;
  const r = changetype<TPM2B>(R);
  r.size = eccParameterBytes(curve);
  if (!newCommitScalar(curve, key.name, r.buffer)) return TPM_RC_NO_RESULT;
  const point = changetype<TPMS_ECC_POINT>(P2);
  const hasPoint = input.s2.size != 0;
  if (hasPoint) {
    // The point's x is a hash of what the caller gives (Part 1, C.4.2).
    const x2 = changetype<TPM2B>(X2);
    x2.size = cryptHashBlock(area.nameAlg, input.s2.buffer, input.s2.size, x2.buffer);
    if (x2.size == 0) return TPM_RC_HASH + H1;
    eccReduce(x2, curve, point.x);
    copy2B(point.y, input.y2);
    if (!eccIsPointOnCurve(curve, point)) return TPM_RC_ECC_POINT + TPM_RC_P + TPM_RC_2;
    if (key.attributes & OBJECT_PUBLIC_ONLY) return TPM_RC_KEY + H1;
  }
  const hasP1 = input.P1.size > 4;
  if (hasP1 && !eccIsPointOnCurve(curve, input.P1.point)) return TPM_RC_ECC_POINT + TPM_RC_P + TPM_RC_1;
  emptyPoint(output.K.point);
  emptyPoint(output.L.point);
  emptyPoint(output.E.point);
  let rc: u32 = 0;
  if (hasPoint) {
    rc = eccPointMultiply(output.K.point, curve, point, key.sensitive.sensitive.ecc);
    if (rc == 0) rc = eccPointMultiply(output.L.point, curve, point, r);
  }
  if (rc == 0 && (hasP1 || !hasPoint)) {
    rc = eccPointMultiply(output.E.point, curve, hasP1 ? input.P1.point : null, r);
  }
  memory.fill(R, 0, 2 + MAX_ECC_KEY_BYTES);
  if (rc == 0) output.counter = commit();
  return rc;
}

export function EC_Ephemeral(input: EC_Ephemeral_In, output: EC_Ephemeral_Out): u32 {
  if (profileRequires(PROFILE_NO_ECC_KEY_DERIVATION)) return TPM_RC_TYPE;
  const r = changetype<TPM2B>(R);
  r.size = eccParameterBytes(input.curveID);
  if (!newCommitScalar(input.curveID, EMPTY_2B, r.buffer)) return TPM_RC_NO_RESULT;
  const rc = eccPointMultiply(output.Q.point, input.curveID, null, r);
  memory.fill(R, 0, 2 + MAX_ECC_KEY_BYTES);
  if (rc == 0) output.counter = commit();
  return rc;
}

// Part 3, 15 and 17: symmetric primitives with a loaded key.
import { symmetricBlockSize } from "../cipher";
import { TPM2B, copy2B } from "../cursor";
import { MAC_RECORD_SIZE, cryptMacEnd2B, cryptMacStart, cryptMacUpdate2B, cryptSelectMac } from "../crypt-mac";
import { cryptSymmetric } from "../crypt-symmetric";
import {
  TPMA_OBJECT_decrypt,
  TPMA_OBJECT_restricted,
  TPMA_OBJECT_sign,
  TPM_ALG_CBC,
  TPM_ALG_ECB,
  TPM_ALG_NULL,
  TPM_ALG_SYMCIPHER,
  TPM_RC_1,
  TPM_RC_2,
  TPM_RC_3,
  TPM_RC_4,
  TPM_RC_ATTRIBUTES,
  TPM_RC_FAILURE,
  TPM_RC_H,
  TPM_RC_KEY,
  TPM_RC_MODE,
  TPM_RC_P,
  TPM_RC_SIZE,
  TPM_RC_TYPE,
} from "../generated/constants";
import { OBJECT } from "../generated/engine-records";
import {
  EncryptDecrypt2_In,
  EncryptDecrypt2_Out,
  EncryptDecrypt_In,
  EncryptDecrypt_Out,
  MAC_In,
  MAC_Out,
  MAC_Start_In,
  MAC_Start_Out,
} from "../generated/records";
import { loadedObject, objectSymmetric } from "../object";
import { addIndex } from "../response-code";
import { isSymMode } from "../schemes";
import { createMacSequence } from "../sequence";

const H1: u32 = TPM_RC_H + TPM_RC_1;
const WORK: usize = memory.data(MAC_RECORD_SIZE, 16);
const SCHEME: usize = memory.data(4, 4);

/** The key authenticates with the scheme at SCHEME, which is parameter 2. */
function checkMac(key: OBJECT, inScheme: u32): u32 {
  store<u16>(SCHEME, <u16>inScheme);
  const rc = cryptSelectMac(key.publicArea, SCHEME);
  if (rc == TPM_RC_TYPE) return TPM_RC_TYPE + H1;
  if (rc) return addIndex(rc, TPM_RC_P + TPM_RC_2);
  const attributes = key.publicArea.objectAttributes;
  if (attributes & TPMA_OBJECT_restricted) return TPM_RC_ATTRIBUTES + H1;
  return attributes & TPMA_OBJECT_sign ? 0 : TPM_RC_KEY + H1;
}

export function MAC(input: MAC_In, output: MAC_Out): u32 {
  const key = loadedObject(input.handle);
  const rc = checkMac(key, input.inScheme);
  if (rc) return rc;
  if (cryptMacStart(WORK, key, load<u16>(SCHEME)) == 0) return TPM_RC_FAILURE;
  cryptMacUpdate2B(WORK, input.buffer);
  cryptMacEnd2B(WORK, output.outMAC);
  return 0;
}

export function MAC_Start(input: MAC_Start_In, output: MAC_Start_Out): u32 {
  const key = loadedObject(input.handle);
  const rc = checkMac(key, input.inScheme);
  return rc ? rc : createMacSequence(load<u16>(SCHEME), key, input.auth, changetype<usize>(output));
}

/**
 * What both forms of EncryptDecrypt do; their parameters differ in order, `ivParameter` and `dataParameter` say where they are
 * (TPM_RC_P and the number), as `modeParameter`.
 */
function encryptDecrypt(
  keyHandle: u32,
  decrypt: bool,
  wantedMode: u32,
  modeParameter: u32,
  iv: TPM2B,
  ivParameter: u32,
  data: TPM2B,
  dataParameter: u32,
  outData: TPM2B,
  ivOut: TPM2B,
): u32 {
  const key = loadedObject(keyHandle);
  const area = key.publicArea;
  if (area.type != TPM_ALG_SYMCIPHER) return TPM_RC_KEY + H1;
  const needed = decrypt ? TPMA_OBJECT_decrypt : TPMA_OBJECT_sign;
  if ((area.objectAttributes & (TPMA_OBJECT_restricted | needed)) != needed) return TPM_RC_ATTRIBUTES + H1;
  const symmetric = objectSymmetric(area);
  let mode = symmetric.mode.aes;
  if (!isSymMode(mode, true)) return TPM_RC_MODE + H1;
  if (mode == TPM_ALG_NULL) {
    if (wantedMode == TPM_ALG_NULL) return TPM_RC_MODE + modeParameter;
    mode = wantedMode;
  } else if (wantedMode != TPM_ALG_NULL && wantedMode != mode) return TPM_RC_MODE + modeParameter;
  const blockSize = symmetricBlockSize(symmetric.algorithm);
  if (blockSize == 0) return TPM_RC_KEY + H1;
  if (iv.size != (mode == TPM_ALG_ECB ? 0 : blockSize)) return TPM_RC_SIZE + ivParameter;
  if ((mode == TPM_ALG_CBC || mode == TPM_ALG_ECB) && data.size % blockSize != 0) return TPM_RC_SIZE + dataParameter;
  copy2B(ivOut, iv);
  outData.size = data.size;
  cryptSymmetric(
    symmetric.algorithm,
    symmetric.keyBits.aes,
    key.sensitive.sensitive.sym.buffer,
    ivOut.buffer,
    mode,
    !decrypt,
    data.buffer,
    outData.buffer,
    data.size,
  );
  return 0;
}

export function EncryptDecrypt(input: EncryptDecrypt_In, output: EncryptDecrypt_Out): u32 {
  return encryptDecrypt(
    input.keyHandle,
    input.decrypt != 0,
    input.mode,
    TPM_RC_P + TPM_RC_2,
    input.ivIn,
    TPM_RC_P + TPM_RC_3,
    input.inData,
    TPM_RC_P + TPM_RC_4,
    output.outData,
    output.ivOut,
  );
}

export function EncryptDecrypt2(input: EncryptDecrypt2_In, output: EncryptDecrypt2_Out): u32 {
  return encryptDecrypt(
    input.keyHandle,
    input.decrypt != 0,
    input.mode,
    TPM_RC_P + TPM_RC_3,
    input.ivIn,
    TPM_RC_P + TPM_RC_4,
    input.inData,
    TPM_RC_P + TPM_RC_1,
    output.outData,
    output.ivOut,
  );
}

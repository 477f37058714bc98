// What CMD_GET_INFO tells about this TPM (swtpm's --print-info): JSON, with the parts that the flags ask for.
const INFO_TPMSPECIFICATION = 1;
const INFO_TPMATTRIBUTES = 2;
const INFO_TPMFEATURES = 4;

/** JSON text; `flags` are those of CMD_GET_INFO. */
export function engineInfo(flags: number): string {
  const info: Record<string, unknown> = {};
  if (flags & INFO_TPMSPECIFICATION) info.TPMSpecification = { family: "2.0", level: 0, revision: 183 };
  if (flags & INFO_TPMATTRIBUTES)
    info.TPMAttributes = { manufacturer: "id:00001014", version: "id:20240125", model: "swtpm" };
  if (flags & INFO_TPMFEATURES) info.TPMFeatures = { RSAKeySizes: [1024, 2048, 3072], CamelliaKeySizes: [128, 256] };
  return JSON.stringify(info);
}

// Everything of the symmetric side, exported for tests and benchmarks.
// Its place matters to the compiler option abort=assembly/abort/abort only.
import "../../abort";
export * from "../camellia";
export * from "../cmac";
export * from "../ct";
export * from "../drbg";
export * from "../hash";
export * from "../hmac";
export * from "../kdf";
export * from "../sha3";
export * from "../aes";
export * from "../aes-decrypt";
export * from "../modes";
export * from "../rand";
export * from "../selftest-symmetric";
export * from "../tdes";
export * from "../tpm12";
export * from "./leaky";

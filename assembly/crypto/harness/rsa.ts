// The test build of the number layer, RSA and the prime search: everything is exported.
// Its place matters to the compiler option abort=assembly/abort/abort only.
import "../../abort";
export * from "../bn";
export * from "../bn-inverse";
export * from "../mont";
export * from "../mont-single";
export * from "../rsa";
export { RSA_KEY_MAX_SIZE, rsaKeyBlind, rsaKeyExponents, rsaKeyLoad, rsaKeySize } from "../rsa-key";
export * from "../rsa-padding";
export * from "../rsa-scheme";
export * from "../hash";
export * from "../drbg";
export * from "../prime-sieve";
export * from "../prime-test";
export * from "../rsa-keygen";
export * from "../rsa-selftest";

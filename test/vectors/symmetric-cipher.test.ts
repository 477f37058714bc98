// Block ciphers, their modes, CMAC and the DRBG against NIST ACVP and Wycheproof.
import { expect, it } from "vitest";
import { acvp, describeVectors, hexUpper, unhex, wycheproof } from "../support/vectors.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const wasm = loadHarness("crypto-symmetric");
const AES = 0;
const CAMELLIA = 1;
const TDES = 2;

interface CipherGroup {
  testType: "AFT" | "MCT";
  direction: "encrypt" | "decrypt";
  keyLen?: number;
}
interface CipherCase {
  key?: string;
  key1?: string;
  key2?: string;
  key3?: string;
  iv?: string;
  pt: string;
  ct: string;
  payloadLen?: number;
  resultsArray?: CipherCase[];
}

const MODES = {
  ecb: ["ecbEncrypt", "ecbDecrypt"],
  cbc: ["cbcEncrypt", "cbcDecrypt"],
  cfb: ["cfbEncrypt", "cfbDecrypt"],
  ofb: ["ofb", "ofb"],
  ctr: ["ctr", "ctr"],
} as const;
type Mode = keyof typeof MODES;

const keyOf = (test: CipherCase) => unhex(test.key ?? `${test.key1}${test.key2}${test.key3}`);

/** A stream of calls under one key: the IV moves on from call to call. */
function stream(cipher: number, mode: Mode, encrypt: boolean, key: Uint8Array, iv: Uint8Array) {
  wasm.reset();
  const schedule = wasm.reserve(wasm.constant("CIPHER_SCHEDULE_SIZE"));
  wasm.call("cipherExpandKey", cipher, key, key.length * 8, schedule);
  const ivAt = mode === "ecb" ? [] : [wasm.place(iv)];
  const call = wasm.function(MODES[mode][encrypt ? 0 : 1]);
  return (data: Uint8Array) => {
    const at = wasm.place(data);
    call(cipher, schedule, ...ivAt, at, at, data.length);
    return wasm.read(at, data.length);
  };
}

const xor = (a: Uint8Array, b: Uint8Array) => Uint8Array.from(a, (x, i) => x ^ b[i]!);

/** ACVP's Monte Carlo test of AES: each input is the output before last, and the last outputs change the key. */
function aesMonteCarlo(mode: Mode, encrypt: boolean, test: CipherCase): void {
  const [inKey, outKey] = encrypt ? (["pt", "ct"] as const) : (["ct", "pt"] as const);
  let key = keyOf(test);
  let iv = unhex(test.iv ?? "");
  let input = unhex(test[inKey]);
  for (const result of test.resultsArray!) {
    expect([hexUpper(key), hexUpper(input)]).toEqual([result.key, result[inKey]]);
    const next = stream(AES, mode, encrypt, key, iv);
    let [before, output] = [iv, next(input)];
    for (let i = 1; i < 1000; i++) {
      const following = next(mode === "ecb" ? output : before);
      [before, output] = [output, following];
    }
    expect(hexUpper(output)).toBe(result[outKey]);
    key = new Uint8Array(xor(key, Buffer.concat([before, output]).subarray(32 - key.length)));
    [iv, input] = mode === "ecb" ? [iv, output] : [output, before];
  }
}

function runCipherFile(cipher: number, mode: Mode, file: string): number {
  let cases = 0;
  for (const group of acvp<CipherGroup, CipherCase>(file)) {
    const encrypt = group.direction === "encrypt";
    for (const test of group.tests) {
      if (group.testType === "MCT") {
        if (cipher === AES) aesMonteCarlo(mode, encrypt, test);
        else tdesMonteCarlo(mode, encrypt, test);
      } else {
        const [from, to] = encrypt ? [test.pt, test.ct] : [test.ct, test.pt];
        const out = hexUpper(stream(cipher, mode, encrypt, keyOf(test), unhex(test.iv ?? ""))(unhex(from)));
        if (test.payloadLen !== undefined && test.payloadLen % 8 !== 0) {
          const whole = Math.floor(test.payloadLen / 8);
          const mask = 0xff00 >> (test.payloadLen % 8);
          expect(out.slice(0, 2 * whole)).toBe(to.slice(0, 2 * whole));
          expect(unhex(out)[whole]! & mask).toBe(unhex(to)[whole]! & mask);
        } else expect(out).toBe(to);
      }
      cases++;
    }
  }
  return cases;
}

/** How many of the 400 key changes of a TDES Monte Carlo case are followed, each 10,000 blocks. */
const TDES_KEYS = 12;

/** ACVP's Monte Carlo test of TDES, every recorded key of the first ones for itself: 10,000 blocks, each made of others. */
function tdesMonteCarlo(mode: Mode, encrypt: boolean, test: CipherCase): void {
  const [inKey, outKey] = encrypt ? (["pt", "ct"] as const) : (["ct", "pt"] as const);
  for (const result of test.resultsArray!.slice(0, TDES_KEYS)) {
    const iv = unhex(result.iv ?? "");
    const next = stream(TDES, mode, encrypt, keyOf(result), iv);
    let input = unhex(result[inKey]);
    let output = input;
    let chained = iv;
    for (let i = 0; i < 10_000; i++) {
      const before = chained;
      output = next(input);
      const keyStream = xor(input, output);
      chained = mode === "ofb" ? keyStream : output;
      if (mode === "ecb" || (mode === "cbc" && !encrypt)) input = output;
      else if (mode === "cfb" && !encrypt) input = keyStream;
      else input = before;
    }
    expect(hexUpper(output)).toBe(result[outKey]);
  }
}

describeVectors("ACVP block ciphers", () => {
  it.each([
    ["ecb", "ACVP-AES-ECB-1.0"],
    ["cbc", "ACVP-AES-CBC-1.0"],
    ["cfb", "ACVP-AES-CFB128-1.0"],
    ["ofb", "ACVP-AES-OFB-1.0"],
    ["ctr", "ACVP-AES-CTR-1.0"],
  ] as const)("AES in %s mode, with Monte Carlo", (mode, file) => {
    expect(runCipherFile(AES, mode, file)).toBeGreaterThan(100);
  });

  it.each([
    ["ecb", "ACVP-TDES-ECB-1.0"],
    ["cbc", "ACVP-TDES-CBC-1.0"],
    ["cfb", "ACVP-TDES-CFB64-1.0"],
    ["ofb", "ACVP-TDES-OFB-1.0"],
  ] as const)("TDES in %s mode, with Monte Carlo", (mode, file) => {
    expect(runCipherFile(TDES, mode, file)).toBeGreaterThan(600);
  });
});

interface CmacGroup {
  direction: "gen" | "ver";
  macLen: number;
}
interface CmacCase {
  key: string;
  message: string;
  mac: string;
  testPassed?: boolean;
}
interface WycheproofMac {
  key: string;
  msg: string;
  tag: string;
  result: "valid" | "invalid" | "acceptable";
}

describeVectors("CMAC", () => {
  const cmac = (cipher: number, key: Uint8Array, data: Uint8Array) => {
    wasm.reset();
    const state = wasm.reserve(wasm.constant("CMAC_STATE_SIZE"));
    const size = wasm.call("cipherBlockSize", cipher);
    return hexUpper(wasm.output(size, "cmacOnce", cipher, state, key, key.length * 8, data, data.length));
  };

  it.each([
    ["CMAC-AES-1.0", AES],
    ["CMAC-TDES-1.0", TDES],
  ])("ACVP %s", (file, cipher) => {
    let cases = 0;
    for (const group of acvp<CmacGroup, CmacCase>(file)) {
      for (const test of group.tests) {
        const mac = cmac(cipher, unhex(test.key), unhex(test.message)).slice(0, group.macLen / 4);
        expect(mac === test.mac).toBe(test.testPassed ?? true);
        cases++;
      }
    }
    expect(cases).toBeGreaterThan(300);
  });

  it.each([
    ["aes_cmac_test", AES],
    ["camellia_cmac_test", CAMELLIA],
  ])("Wycheproof %s", (file, cipher) => {
    let cases = 0;
    for (const group of wycheproof<{ keySize: number; tagSize: number }, WycheproofMac>(file)) {
      if (![128, 192, 256].includes(group.keySize)) continue; // the caller's check
      for (const test of group.tests) {
        const mac = cmac(cipher, unhex(test.key), unhex(test.msg)).slice(0, group.tagSize / 4);
        expect(mac === test.tag.toUpperCase()).toBe(test.result === "valid");
        cases++;
      }
    }
    expect(cases).toBeGreaterThan(200);
  });
});

interface CbcCase {
  key: string;
  iv: string;
  msg: string;
  ct: string;
  result: "valid" | "invalid" | "acceptable";
}

describeVectors("Camellia-CBC", () => {
  it("Wycheproof camellia_cbc_pkcs5_test: exactly the valid cases decrypt to a correctly padded message", () => {
    let cases = 0;
    for (const group of wycheproof<{ keySize: number }, CbcCase>("camellia_cbc_pkcs5_test")) {
      for (const test of group.tests) {
        const ciphertext = unhex(test.ct);
        const whole = ciphertext.length > 0 && ciphertext.length % 16 === 0;
        const plain = whole
          ? hexUpper(stream(CAMELLIA, "cbc", false, unhex(test.key), unhex(test.iv))(ciphertext))
          : undefined;
        const missing = 16 - ((test.msg.length / 2) % 16);
        const padded = test.msg.toUpperCase() + missing.toString(16).padStart(2, "0").toUpperCase().repeat(missing);
        expect(plain === padded).toBe(test.result === "valid");
        cases++;
      }
    }
    expect(cases).toBe(216);
  });
});

interface DrbgGroup {
  mode: string;
  derFunc: boolean;
}
interface DrbgCase {
  entropyInput: string;
  persoString: string;
  otherInput: { intendedUse: "reSeed" | "generate"; entropyInput: string; additionalInput: string }[];
  returnedBits: string;
}

describeVectors("CTR_DRBG", () => {
  it("ACVP ctrDRBG, AES-256 without derivation function", () => {
    const seed = wasm.constant("DRBG_SEED");
    let cases = 0;
    for (const group of acvp<DrbgGroup, DrbgCase>("ctrDRBG-1.0")) {
      if (group.mode !== "AES-256" || group.derFunc) continue;
      for (const test of group.tests) {
        wasm.reset();
        const state = wasm.reserve(wasm.constant("DRBG_STATE_SIZE"));
        const length = test.returnedBits.length / 2;
        const out = wasm.reserve(length);
        wasm.call("drbgInstantiate", state, xor(unhex(test.entropyInput), unhex(test.persoString)), 0, 0);
        for (const { intendedUse, entropyInput, additionalInput } of test.otherInput) {
          const additional = unhex(additionalInput);
          if (entropyInput) {
            wasm.call("drbgReseed", state, xor(unhex(entropyInput), additional), 0, 0);
            if (intendedUse === "generate") wasm.call("drbgGenerate", state, out, length);
          } else {
            // CTR_DRBG_Generate with additional input: an update with it before, and one after, which is the update
            // without data that drbgGenerate does plus the data.
            wasm.call("drbgReseed", state, additional, 0, 0);
            wasm.call("drbgGenerate", state, out, length);
            wasm.write(state + seed, xor(wasm.read(state + seed, 48), additional));
          }
        }
        expect(hexUpper(wasm.read(out, length))).toBe(test.returnedBits);
        cases++;
      }
    }
    expect(cases).toBe(30);
  });
});

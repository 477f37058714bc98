import { createCipheriv, createHash, createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { loadHarness } from "../support/wasm-harness.ts";

const ROUNDS = 500;
const wasm = loadHarness("crypto-symmetric");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("TPM 1.2 helpers", () => {
  it("make the shared secret of an OSAP session", () => {
    const random = new Seeded("osap");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [secret, even, odd] = [random.bytes(20), random.bytes(20), random.bytes(20)];
      const expected = createHmac("sha1", secret).update(even).update(odd).digest("hex");
      expect(hex(wasm.output(20, "tpm12SharedSecret", secret, even, odd))).toBe(expected);
    }
  });

  it("make the authorization of a command", () => {
    const random = new Seeded("authorization");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [key, digest, even, odd] = [random.bytes(20), random.bytes(20), random.bytes(20), random.bytes(20)];
      const flag = round % 2;
      const mac = createHmac("sha1", key).update(digest).update(even).update(odd).update(Uint8Array.of(flag));
      expect(hex(wasm.output(20, "tpm12Authorization", key, digest, even, odd, flag))).toBe(mac.digest("hex"));
    }
  });

  it("mask a secret with the hash of shared secret and nonce", () => {
    const random = new Seeded("adip");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [shared, nonce, secret] = [random.bytes(20), random.bytes(20), random.bytes(20)];
      const pad = createHash("sha1").update(shared).update(nonce).digest();
      const at = wasm.place(secret);
      wasm.call("tpm12XorSecret", shared, nonce, at);
      expect(hex(wasm.read(at, 20))).toBe(hex(secret.map((byte, i) => byte ^ pad[i]!)));
    }
  });

  it("count in 32 bits only in counter mode", () => {
    const random = new Seeded("counter mode");
    for (let round = 0; round < ROUNDS; round++) {
      wasm.reset();
      const [key, counter] = [random.bytes(16), random.bytes(16)];
      if (round % 2 === 0) counter.fill(0xff, 12);
      const data = random.bytes(random.pick([0, 1, 16, 20, 33, random.below(200)]));
      const expected = Uint8Array.from(data);
      const view = new DataView(counter.slice().buffer);
      for (let at = 0; at < data.length; at += 16) {
        const stream = createCipheriv("aes-128-ecb", key, null).update(new Uint8Array(view.buffer));
        for (let i = at; i < Math.min(at + 16, data.length); i++) expected[i]! ^= stream[i - at]!;
        view.setUint32(12, view.getUint32(12) + 1);
      }
      const at = wasm.place(data);
      wasm.call("tpm12CounterMode", key, counter, at, data.length);
      expect(hex(wasm.read(at, data.length))).toBe(hex(expected));
    }
  });
});

// Which algorithms are still to be tested, on the engine and on Debian's swtpm, as commands use them one after the other.
import { afterAll, beforeAll, test } from "vitest";
import type { TpmClient } from "../../src/codec/client.ts";
import {
  create,
  createPrimary,
  ecc,
  keyedHash,
  load,
  parent,
  rsa,
  symmetricCipher,
  type Template,
} from "../support/engine-templates.ts";
import { Twins } from "../support/engine-twins.ts";

const PARENT = 0x8000_0000;
const KEY = 0x8000_0001;

let twins: Twins;
beforeAll(async () => {
  twins = await Twins.start();
});
afterAll(() => twins?.[Symbol.asyncDispose]());

const validation = { tag: "HASHCHECK", hierarchy: "NULL", digest: "" } as const;
const details = { hashAlg: "SHA1" } as const;
const digest = new Uint8Array(20);
const tdes = { algorithm: "TDES", keyBits: 128, mode: "CBC" } as const;

/** Replaces the key by one made of the template. */
const makeKey = (template: Template) => async (client: TpmClient) => {
  await client.command("FlushContext", { parameters: { flushHandle: KEY } }).catch(() => {});
  await load(client, PARENT, await create(client, PARENT, template));
};

const uses: Record<string, (client: TpmClient) => Promise<unknown>> = {
  nothing: async () => {},
  "random bytes": (client) => client.command("GetRandom", { parameters: { bytesRequested: 4 } }),
  "an ECC parent": (client) => createPrimary(client, parent("ECC")),
  "an HMAC key": makeKey(keyedHash({ attributes: { sign: true } }, { scheme: "HMAC", details })),
  "its use": (client) =>
    client.command("MAC", { handles: { handle: KEY }, parameters: { buffer: "01", inScheme: "NULL" } }),
  "a TDES key": makeKey(symmetricCipher({ attributes: { sign: true, decrypt: true } }, tdes)),
  "its use, too": (client) =>
    client.command("EncryptDecrypt", {
      handles: { keyHandle: KEY },
      parameters: { decrypt: false, mode: "NULL", ivIn: new Uint8Array(8), inData: new Uint8Array(8) },
    }),
  "a session": (client) => client.startAuthSession({ symmetric: "AES128" }),
  "an RSA key": makeKey(rsa({ attributes: { sign: true, decrypt: true } })),
  "its signature": (client) =>
    client.command("Sign", {
      handles: { keyHandle: KEY },
      parameters: { digest, inScheme: { scheme: "RSAPSS", details }, validation },
    }),
  "its encryption": (client) =>
    client.command("RSA_Encrypt", {
      handles: { keyHandle: KEY },
      parameters: { message: "00", inScheme: { scheme: "OAEP", details }, label: "" },
    }),
  "an ECC key": makeKey(ecc({ attributes: { sign: true } })),
  "its Schnorr signature": (client) =>
    client.command("Sign", {
      handles: { keyHandle: KEY },
      parameters: { digest, inScheme: { scheme: "ECSCHNORR", details }, validation },
    }),
};

test.each(Object.entries(uses))("after %s", async (name, use) => {
  await twins.agree(name, use);
  await twins.same(name, (client) => client.command("IncrementalSelfTest", { parameters: { toTest: [] } }));
});

// Profiles on their way from the command line into a TPM's state, and what only this engine has to settle.
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { capabilities } from "../../src/cli/capabilities.ts";
import { profileOption } from "../../src/cli/profile-option.ts";
import { Engine } from "../../src/engine/engine.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { engineInfo, INFO } from "../../src/engine/info.ts";
import { engineModule } from "../../src/engine/module.ts";
import { builtInAlgorithms } from "../../src/spec/profiles.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { TestHost } from "../support/engine-tpm.ts";
import { engineWith } from "../support/profiles.ts";

const idle = () => new Engine(engineModule(), new TestHost());
const active = (engine: Engine) =>
  (JSON.parse(engineInfo(INFO.ACTIVE_PROFILE, () => engine)) as { ActiveProfile: Record<string, unknown> })
    .ActiveProfile;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "wtpm-profile-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("--profile", () => {
  test("gives a name, JSON, or what is in a file or behind a descriptor, without white space around it", () => {
    expect(profileOption("name=default-v1")).toBe('{"Name":"default-v1"}');
    expect(profileOption('profile={"Name":"custom","Attributes":"pct,fips-host"}')).toBe(
      '{"Name":"custom","Attributes":"pct,fips-host"}',
    );
    const file = path.join(folder, "profile.json");
    writeFileSync(file, ' \n{"Name":"null"}\n');
    expect(profileOption(`file=${file}`)).toBe('{"Name":"null"}');
    const fd = openSync(file, "r");
    expect(profileOption(`fd=${fd}`)).toBe('{"Name":"null"}');
    expect(() => closeSync(fd)).toThrow("EBADF");
  });

  test.each([
    ["remove-disabled=check", "No profile option parameter given to get a profile"],
    ["name=null,file=/x", "Only one profile option parameter of 'profile', 'name', 'fd', or 'file' may be provided"],
    ["file=/nowhere/at/all", /Unable to read profile: .*ENOENT/],
    ["name=custom,remove-disabled=all", "Invalid option parameter 'all' for 'remove-disabled'"],
    ["file", /Unable to read profile/],
    ["names=null", "Error parsing profile options: Unknown option 'names=null'"],
  ])("%s is refused", (list, message) => {
    expect(() => profileOption(list)).toThrow(message);
  });

  test("remove-disabled=fips-host takes from a custom profile what FIPS mode has not, and such a TPM can be made", () => {
    const json = profileOption("name=custom:here,remove-disabled=fips-host");
    const profile = JSON.parse(json) as Record<string, string>;
    const words = profile.Algorithms!.split(",");
    const expected = builtInAlgorithms
      .split(",")
      .filter((word) => !/^(camellia|tdes|rsaes)/.test(word))
      .map((word) =>
        word.replace("rsa-min-size=1024", "rsa-min-size=2048").replace("ecc-min-size=192", "ecc-min-size=224"),
      );
    expect(words).toEqual(expected);
    expect(profile.Attributes).toBe("no-sha1-signing,no-sha1-verification,no-unpadded-encryption");
    expect(active(engineWith(json))).toMatchObject({ Name: "custom:here", Algorithms: profile.Algorithms });
    const own = profileOption(
      'profile={"Name":"custom","Algorithms":"rsa,tdes,tdes-min-size=128,ecc,ecc-min-size=384,ecc-nist-p192","Attributes":"fips-host"},remove-disabled=fips-host',
    );
    expect(JSON.parse(own)).toEqual({
      Name: "custom",
      Algorithms: "rsa,ecc,ecc-min-size=384,rsa-min-size=2048",
      Attributes: "fips-host",
    });
    // Other profiles cannot be changed, and nothing of this TPM's is disabled by a host.
    expect(profileOption("name=default-v1,remove-disabled=fips-host")).toBe('{"Name":"default-v1"}');
    expect(profileOption("name=custom,remove-disabled=check")).toBe('{"Name":"custom"}');
  });
});

describe("the engine", () => {
  test("gives a profile that needs level 1 only the level that stores it", () => {
    const algorithms =
      "rsa,hmac,aes,mgf1,keyedhash,xor,sha256,sha384,null,oaep,ecdsa,ecdh,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc,ecc-nist,symcipher,cfb";
    const profile = JSON.stringify({
      Name: "custom",
      Algorithms: algorithms,
      Commands:
        "0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,0x17a-0x193,0x197",
    });
    const engine = engineWith(profile);
    expect(active(engine).StateFormatLevel).toBe(2);
    const again = idle();
    expect(again.loadPermanent(engine.savePermanent())).toBe(0);
    expect(active(again)).toEqual(active(engine));
  });

  test("refuses a least HMAC key below the level that has it", () => {
    const profile = (level: number) =>
      JSON.stringify({
        Name: "custom",
        StateFormatLevel: level,
        Algorithms: `${builtInAlgorithms},hmac-min-key-size=128`,
      });
    expect(idle().manufacture(profile(6))).toBe(0x84);
    expect(idle().manufacture(profile(7))).toBe(0);
  });

  test("refuses a profile that is too long, and takes one of that length", () => {
    const frame = '{"Name":"custom","Description":""}'.length;
    const profile = (length: number) => `{"Name":"custom","Description":"${"d".repeat(length - frame)}"}`;
    expect(idle().manufacture(profile(16384))).toBe(0);
    expect(idle().manufacture(profile(16385))).toBe(0x95);
  });

  test("ends a profile at its first zero, as C does", () => {
    expect(idle().manufacture('{"Name":"null"}\0 and more')).toBe(0);
    expect(idle().manufacture('{"Name":"nu\0ll"}')).toBe(0x154);
  });

  test("tells before there is a TPM what is implemented, and no profile in force", () => {
    const engine = idle();
    expect(engineInfo(INFO.ACTIVE_PROFILE, () => engine)).toBe("{}");
    const info = JSON.parse(engineInfo(INFO.RUNTIME_COMMANDS | INFO.AVAILABLE_PROFILES, () => engine)) as {
      RuntimeCommands: Record<string, string>;
      AvailableProfiles: { Name: string; StateFormatLevel: number }[];
    };
    expect(info.RuntimeCommands.Enabled).toBe("");
    expect(info.RuntimeCommands.Disabled).toBe(info.RuntimeCommands.Implemented);
    expect(info.AvailableProfiles.map(({ Name, StateFormatLevel }) => [Name, StateFormatLevel])).toEqual([
      ["default-v2", 8],
      ["default-v1", 7],
      ["null", 1],
      ["custom", 2],
    ]);
  });
});

describe("a TPM with a store", () => {
  const profile = '{"Name":"default-v1"}';
  const name = async (options: Parameters<typeof createEngineBackend>[0]) => {
    const backend = createEngineBackend(options);
    await backend.powerOn();
    const { ActiveProfile } = JSON.parse(await backend.info(INFO.ACTIVE_PROFILE)) as {
      ActiveProfile: { Name: string };
    };
    await backend.close();
    return ActiveProfile.Name;
  };

  test("gets the null profile, or the one that is asked for, and keeps it", async () => {
    expect(await name({ store: new MemoryStore() })).toBe("null");
    const store = new MemoryStore();
    expect(await name({ store, profile })).toBe("default-v1");
    expect(await name({ store })).toBe("default-v1");
    expect(await name({ store, profile: '{"Name":"default-v2"}' })).toBe("default-v1");
  });

  test("that has to get the profile does not start when it exists; the one just made starts again", async () => {
    const store = new MemoryStore();
    const backend = createEngineBackend({ store, profile, profileMustApply: true });
    await backend.powerOn();
    await backend.powerOff();
    await backend.powerOn();
    await backend.close();
    const other = createEngineBackend({ store, profile, profileMustApply: true });
    const failure = await Promise.resolve()
      .then(() => other.powerOn())
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BackendError);
    expect(failure).toMatchObject({ kind: "tpm", tpmCode: 9, message: expect.stringContaining("exists already") });
    await other.close();
  });

  test("says what is wrong: no profile, or a state with a newer one", async () => {
    const failureOf = async (options: Parameters<typeof createEngineBackend>[0]) => {
      const backend = createEngineBackend(options);
      const failure = await Promise.resolve()
        .then(() => backend.powerOn())
        .catch((error: unknown) => error);
      await backend.close();
      return failure;
    };
    expect(await failureOf({ store: new MemoryStore(), profile: '{"Name":"default-v3"}' })).toMatchObject({
      kind: "tpm",
      tpmCode: 9,
    });
    const permanent = engineWith('{"Name":"default-v2"}').savePermanent();
    const at = new TextDecoder("latin1").decode(permanent).indexOf('"StateFormatLevel":8') + 19;
    permanent[at] = "9".charCodeAt(0);
    const backend = createEngineBackend({ store: new MemoryStore() });
    const failure = await Promise.resolve()
      .then(() => backend.setState("permanent", permanent))
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: "bad-state", message: expect.stringMatching(/StateFormatLevel 9.*up to 8/) });
    await backend.close();
  });
});

test("--print-capabilities names the profiles, and what can be left out of them", () => {
  const info = engineInfo(0xff, idle);
  const { features, profiles } = JSON.parse(capabilities(info)) as {
    features: string[];
    profiles: { names: string[]; algorithms: Record<string, string>; commands: Record<string, string> };
  };
  expect(features).toEqual(
    expect.arrayContaining([
      "rsa-keysize-4096",
      "cmdarg-profile",
      "cmdarg-print-profiles",
      "profile-opt-remove-disabled",
    ]),
  );
  expect(profiles.names).toEqual(["default-v2", "default-v1", "null", "custom"]);
  expect(profiles.algorithms.canbedisabled).toContain("camellia");
  expect(profiles.commands.implemented).toContain("0x199-0x19c");
  expect(JSON.parse(capabilities(undefined))).toMatchObject({ profiles: {} });
});

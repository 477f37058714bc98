// Profiles beside libtpms': what is refused, what is enabled, how it is printed, and the states of TPMs that have one.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { Engine } from "../../src/engine/engine.ts";
import { engineInfo, INFO } from "../../src/engine/info.ts";
import { engineModule } from "../../src/engine/module.ts";
import { commands as commandDefinitions } from "../../src/spec/commands.ts";
import { EngineTpm, listedCommands, TestHost } from "../support/engine-tpm.ts";
import {
  engineFrom,
  engineWith,
  recordedAnswers,
  recordedProfiles,
  recordedStates,
  send,
} from "../support/profiles.ts";
import { bytesOf } from "../support/recorded.ts";

const hex = (value: number, digits = 8) => value.toString(16).padStart(digits, "0");

describe("a user's profile", () => {
  const cases = recordedProfiles().filter(({ profile }) => profile !== "");

  it("is taken or refused with libtpms' code", () => {
    expect(cases.length).toBe(351);
    const differ = cases.flatMap(({ profile, rc }) => {
      const got = new Engine(engineModule(), new TestHost()).manufacture(profile);
      return got === rc ? [] : [{ profile, rc, got }];
    });
    expect(differ).toEqual([]);
  });

  it("is printed as libtpms prints it, with everything that it enables", () => {
    const taken = cases.filter(({ active }) => active !== undefined);
    expect(taken.length).toBeGreaterThan(150);
    for (const { profile, active, runtime } of taken) {
      const engine = engineWith(profile);
      expect(engineInfo(INFO.ACTIVE_PROFILE, () => engine)).toBe(active);
      const lists = INFO.RUNTIME_ALGORITHMS | INFO.RUNTIME_COMMANDS | INFO.RUNTIME_ATTRIBUTES;
      expect(engineInfo(lists, () => engine)).toBe(runtime);
    }
  });
});

/** Codes of the commands that are written, by the page that is generated from the functions in assembly/tpm2/commands. */
function commandsThere(): ReadonlySet<number> {
  const page = readFileSync(new URL("../../docs/commands.md", import.meta.url), "utf8");
  const names = new Set([.../^There, \d+: (.*)\.$/m.exec(page)![1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name));
  return new Set(commandDefinitions.filter(({ name }) => names.has(name)).map(({ code }) => code));
}

/** The items of a TPM2_GetCapability response, each of `digits` hexadecimal digits. */
function itemsOf(response: string, digits: number): string[] {
  return Array.from({ length: (response.length - 38) / digits }, (_, i) =>
    response.slice(38 + digits * i, 38 + digits * (i + 1)),
  );
}

/** TPMA_CC, in hexadecimal digits, of a command that is there. */
const isThere = (there: ReadonlySet<number>) => (item: string) => there.has(Number.parseInt(item.slice(4), 16));

/** libtpms' TPM_CAP_COMMANDS, less the commands that the engine does not have yet. */
function commandsAsThere(response: string, there: ReadonlySet<number>): string {
  const kept = itemsOf(response, 8).filter(isThere(there));
  return `8001${hex(19 + 4 * kept.length)}${response.slice(12, 30)}${hex(kept.length)}${kept.join("")}`;
}

/** libtpms' fixed properties, with counts of commands that are less by those that the engine does not have yet. */
function countsLess(response: string, missing: number): string {
  const items = itemsOf(response, 16).map((item) => {
    const isCount = item.startsWith("00000129") || item.startsWith("0000012a");
    return isCount ? item.slice(0, 8) + hex(Number.parseInt(item.slice(8), 16) - missing) : item;
  });
  return response.slice(0, 38) + items.join("");
}

describe("a TPM made with a profile answers as libtpms' does:", () => {
  const { commands, profiles } = recordedAnswers();
  const there = commandsThere();

  it("recordings of 27 profiles are at hand", () => {
    expect(profiles.length).toBe(27);
    expect(commands.length).toBe(131);
  });

  it.each(profiles.map((profile) => [profile.name, profile] as const))("%s", (_name, { profile, responses }) => {
    const engine = engineWith(profile);
    engine.init();
    const listed = responses[commands.findIndex(([name]) => name === "GetCapability 2")]!;
    const missing = itemsOf(listed, 8).length - itemsOf(listed, 8).filter(isThere(there)).length;
    const differ = commands.flatMap(([name, command], i) => {
      const got = toHex(send(engine, command));
      const varying = /^(.*)\*(\d+)$/.exec(responses[i]!);
      if (varying) {
        const agrees = got.startsWith(varying[1]!) && got.length === 2 * Number(varying[2]);
        return agrees ? [] : [{ name, command, expected: responses[i], got }];
      }
      const expected =
        name === "GetCapability 2"
          ? commandsAsThere(responses[i]!, there)
          : name === "GetCapability 6"
            ? countsLess(responses[i]!, missing)
            : responses[i];
      return got === expected ? [] : [{ name, command, expected, got }];
    });
    expect(differ).toEqual([]);
  });
});

describe("TPM2_GetCapability of a fresh TPM is libtpms', byte for byte:", () => {
  it.each(["default-v1", "default-v2"])("%s", (name) => {
    const text = readFileSync(new URL(`../data/tpm2/engine-capabilities-${name}.yaml`, import.meta.url), "utf8");
    const section = (title: string, key: number, value: RegExp) =>
      new RegExp(`^${title}:.*\\n((?: .*\\n)*)`, "m")
        .exec(text)![1]!
        .trimEnd()
        .split("\n")
        .map((line) => {
          const tag = Number.parseInt(/0x([0-9a-f]+):/.exec(line)![1]!, 16);
          return hex(tag, key) + hex(Number.parseInt(value.exec(line)![1]!, 16));
        });
    const engine = engineWith(JSON.stringify({ Name: name }));
    engine.init();
    send(engine, "80010000000c000001440000");
    const ask = (capability: number, property: number) =>
      toHex(send(engine, `8001000000160000017a${hex(capability)}${hex(property)}ffffffff`));
    const answer = (capability: number, items: readonly string[]) => {
      const body = `00${hex(capability)}${hex(items.length)}${items.join("")}`;
      return `8001${hex(10 + body.length / 2)}00000000${body}`;
    };
    const there = commandsThere();
    const listed = section("commands", 0, /: 0x([0-9a-f]+)/).map((item) => item.slice(-8));
    expect(listed.length).toBe(114);
    const present = listed.filter(isThere(there));
    expect(ask(2, 0)).toBe(answer(2, present));
    const algorithms = section("algorithms", 4, /, (?:0x)?([0-9a-f]+)\]/);
    expect(algorithms.length).toBe(33);
    expect(ask(0, 0)).toBe(answer(0, algorithms));
    const fixed = section("properties_fixed", 8, /raw: 0x([0-9a-f]+)/);
    expect(fixed.length).toBe(48);
    expect(ask(6, 0x100)).toBe(countsLess(answer(6, fixed), listed.length - present.length));
    const variable = section("properties_variable", 8, /raw: 0x([0-9a-f]+)/);
    expect(ask(6, 0x200)).toBe(answer(6, variable));
    expect(ask(8, 0)).toBe(answer(8, ["0001", "0002", "0003", "0004", "0005", "0010", "0011", "0020"]));
  });

  it("the null profile is that of a TPM made without one", async () => {
    const engine = engineWith('{"Name":"null"}');
    engine.init();
    send(engine, "80010000000c000001440000");
    const plain = new EngineTpm();
    for (const [capability, property] of [
      [0, 0],
      [2, 0],
      [5, 0],
      [6, 0x100],
      [6, 0x200],
      [8, 0],
    ] as const) {
      const command = `8001000000160000017a${hex(capability)}${hex(property)}ffffffff`;
      expect(toHex(send(engine, command))).toBe(toHex(plain.send(command)));
    }
    expect((await listedCommands(plain.client)).has(0x199)).toBe(false);
  });
});

describe("a state that libtpms wrote", () => {
  const states = recordedStates();

  it("there is one of every StateFormatLevel", () => {
    const levels = states.map(({ permanent }) => /"StateFormatLevel":(\d)/.exec(text(permanent))?.[1] ?? "1");
    expect([...new Set(levels)].sort()).toEqual(["1", "2", "3", "4", "5", "6", "7", "8"]);
  });

  it.each(states.map((state) => [state.name, state] as const))(
    "%s is read, and written to the byte",
    (_name, state) => {
      const engine = engineFrom(bytesOf(state.permanent));
      const profile = /\{"Name".*?\}/.exec(text(state.permanent))?.[0];
      expect(engineInfo(INFO.ACTIVE_PROFILE, () => engine)).toContain(profile ?? '"Name":"null"');
      const fresh = new Engine(engineModule(), new TestHost());
      expect(fresh.loadPermanent(bytesOf(state.permanent))).toBe(0);
      expect(toHex(fresh.savePermanent())).toBe(state.permanent);
      // TPM Resume, and the persistent key is there.
      expect(toHex(send(engine, "80010000000c000001440001"))).toBe("80010000000a00000000");
      expect(toHex(send(engine, "80010000000e0000017381000001")).slice(12, 20)).toBe("00000000");
    },
  );

  it.each(states.map((state) => [state.name, state] as const))("%s goes on with its volatile state", (_name, state) => {
    const engine = engineFrom(bytesOf(state.permanent));
    expect(engine.loadVolatile(bytesOf(state.volatile))).toBe(0);
    // All but the time of day, the clocks and the digest over everything.
    const written = toHex(engine.saveVolatile());
    expect(written.length).toBe(state.volatile.length);
    let same = 0;
    while (written[same] === state.volatile[same]) same++;
    expect(same).toBeGreaterThan(written.length - 2 * 280);
    // It is started already, and the object slot is still taken.
    expect(toHex(send(engine, "80010000000c000001440000"))).toBe("80010000000a00000100");
    expect(toHex(send(engine, "80010000000e0000017380000000")).slice(12, 20)).toBe("00000000");
  });

  it("of a newer StateFormatLevel is refused with TPM_RC_VALUE, one without level or profile with TPM_RC_NO_RESULT", () => {
    const { permanent } = states.find(({ name }) => name === "level-8")!;
    const changed = (from: string, to: string) => {
      const bytes = bytesOf(permanent);
      const at = text(permanent).indexOf(from);
      expect(at).toBeGreaterThan(0);
      expect(to.length).toBe(from.length);
      bytes.set(new TextEncoder().encode(to), at);
      return new Engine(engineModule(), new TestHost()).loadPermanent(bytes);
    };
    expect(changed('"StateFormatLevel":8', '"StateFormatLevel":8')).toBe(0);
    expect(changed('"StateFormatLevel":8', '"StateFormatLevel":9')).toBe(0x84);
    expect(changed('"StateFormatLevel":8', '"StateFormatLEVEL":8')).toBe(0x154);
    expect(changed('"Name":"custom"', '"name":"custom"')).toBe(0x154);
    expect(changed('"Name":"custom"', '"Name":"costum"')).toBe(0x84);
    expect(changed('{"Name"', '["Name"')).toBe(0x154);
    // RSA-4096 is in level 8 only; a state's own commands must fit its level.
    expect(changed('"StateFormatLevel":8', '"StateFormatLevel":4')).toBe(0x84);
  });
});

/** The bytes as characters. */
function text(blob: string): string {
  return String.fromCharCode(...bytesOf(blob));
}

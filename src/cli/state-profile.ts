// A TPM's state under another profile, as far as the profile has everything that the TPM uses.
import type { TpmClient } from "../codec/client.ts";
import type { inputs } from "../codec/index.ts";
import { Engine, PROFILE_ACTIVE } from "../engine/engine.ts";
import { engineModule } from "../engine/module.ts";
import { commandCodes, profileOf } from "../state/libtpms/facts.ts";
import { decodePermanent, encodePermanent, type PermanentState } from "../state/libtpms/permanent.ts";
import { withProfile, type TargetProfile } from "../state/libtpms/with-profile.ts";
import { type StateBlobs, StateError } from "../state/store.ts";
import { findCommand } from "../spec/registry.ts";
import { OptionError } from "./option-list.ts";
import { clientOf, loadEngine } from "./state-engine.ts";

/**
 * The state with another profile: null, default-v1, default-v2, custom or libtpms' JSON.
 *
 * @throws OptionError for a profile that is none; StateError "conflict" when the TPM uses what the profile does not have.
 */
export async function underProfile({ permanent, volatile }: StateBlobs, wanted: string): Promise<StateBlobs> {
  if (!permanent) throw new StateError("damaged", "there is no permanent state");
  const { profile, client } = await profileNamed(wanted);
  // What older versions wrote is brought to today's first.
  const current = loadEngine(permanent).savePermanent();
  const state = decodePermanent(current);
  if (profileOf(state).json === profile.json) return { permanent: current, ...(volatile && { volatile }) };
  if (volatile)
    throw new StateError(
      "conflict",
      "a TPM that is suspended keeps its profile: resume it and shut it down first, so that there is no volatile state",
    );
  await refuseWhatIsMissing(state, client);
  return { permanent: loadEngine(encodePermanent(withProfile(state, profile))).savePermanent() };
}

/** The profile, and a new TPM that has it. @throws OptionError */
async function profileNamed(wanted: string): Promise<{ profile: TargetProfile; client: TpmClient }> {
  const engine = new Engine(engineModule());
  const rc = engine.manufacture(wanted.startsWith("{") ? wanted : JSON.stringify({ Name: wanted }));
  if (rc !== 0) throw new OptionError(`'${wanted}' is not a profile that a TPM can have (0x${rc.toString(16)})`);
  const json = engine.profileText(PROFILE_ACTIVE);
  const { StateFormatLevel } = JSON.parse(json) as { StateFormatLevel: number };
  engine.init();
  const client = clientOf(engine);
  await client.command("Startup", { parameters: { startupType: "CLEAR" } });
  return {
    profile: { json: StateFormatLevel === 1 ? undefined : json, stateFormatLevel: StateFormatLevel },
    client,
  };
}

/** @param client of a TPM that has the profile */
async function refuseWhatIsMissing(state: PermanentState, client: TpmClient): Promise<void> {
  const refuse = (what: string): never => {
    throw new StateError(
      "conflict",
      `the profile cannot be changed: the TPM uses ${what}, which the profile does not have`,
    );
  };
  const list = async (capability: "ALGS" | "COMMANDS") => {
    const parameters = { capability, property: 0, propertyCount: 254 } as const;
    return (await client.command("GetCapability", { parameters })).capabilityData.data as unknown[];
  };
  const algorithms = new Set((await list("ALGS")).map((item) => (item as { alg: string }).alg));
  for (const alg of algorithmsOf(state)) if (!algorithms.has(alg)) refuse(alg.replace(/^TPM_ALG_/, ""));
  const commands = new Set((await list("COMMANDS")).map((item) => (item as { commandIndex: number }).commandIndex));
  const { ppList, auditCommands, version } = state.persistentData;
  for (const code of [...commandCodes(ppList, version), ...commandCodes(auditCommands, version)])
    if (!commands.has(code)) refuse(`TPM2_${findCommand(code)?.name ?? code.toString(16)} in a list of commands`);
  for (const { handle, object } of state.userNvram.entries) {
    if (!object?.object) continue;
    const { type, parameters } = object.object.publicArea;
    const parms = { type, parameters } as inputs.TPMT_PUBLIC_PARMS;
    await client.command("TestParms", { parameters: { parameters: parms } }).catch(() => {
      refuse(`the kind of key at 0x${handle.toString(16)}`);
    });
  }
}

/** Every algorithm that is named in the state; of PCR banks those that have registers. */
function algorithmsOf(state: PermanentState): Set<string> {
  const found = new Set<string>();
  const walk = (value: unknown): void => {
    if (typeof value === "string" && /^TPM_ALG_(?!NULL)/.test(value)) found.add(value);
    else if (Array.isArray(value)) value.forEach(walk);
    else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
      const unusedBank = "pcrSelect" in value && (value.pcrSelect as Uint8Array).every((byte) => byte === 0);
      if (!unusedBank) Object.values(value).forEach(walk);
    }
  };
  const { stateClear: _, ...rest } = state;
  walk(rest);
  return found;
}

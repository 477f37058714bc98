// A copied TPM becomes one of its own: the TPM itself gives itself new seeds and proofs, by the commands that are made for it.
import { X509Certificate } from "node:crypto";
import type { TpmClient } from "../codec/client.ts";
import { TpmError } from "../codec/client.ts";
import { type NvIndexFacts, nvIndices } from "../state/libtpms/facts.ts";
import { decodePermanent, type PermanentState } from "../state/libtpms/permanent.ts";
import { StateError } from "../state/store.ts";
import { clientOf, loadEngine } from "./state-engine.ts";

/** NV indices of certificates of the endorsement key and the platform (TCG's registry of reserved handles). */
const CERTIFICATES = { first: 0x01c00000, last: 0x01c0ffff } as const;

export interface CertificateOfOldIdentity {
  readonly handle: number;
  /** What it says whom it is for, or what it is. */
  readonly subject: string;
  readonly removed: boolean;
}

export interface NewIdentity {
  readonly permanent: Uint8Array;
  /** Certificates for keys that this TPM does not have any more. */
  readonly certificates: readonly CertificateOfOldIdentity[];
  /** What is gone with the old identity, in sentences. */
  readonly lost: readonly string[];
}

/**
 * Runs TPM2_Clear, TPM2_ChangePPS and TPM2_ChangeEPS on a TPM with this permanent state.
 *
 * @throws StateError "damaged" when it cannot start, "conflict" when it refuses
 */
export async function newIdentity(
  permanent: Uint8Array,
  { removeCertificates }: { readonly removeCertificates: boolean },
): Promise<NewIdentity> {
  const before = decodePermanent(permanent);
  const engine = loadEngine(permanent);
  try {
    engine.init();
    engine.physicalPresence = true;
    const client = clientOf(engine);
    await changeSeeds(client, before.persistentData.disableClear);
    const certificates = await oldCertificates(client, decodePermanent(engine.savePermanent()), removeCertificates);
    await client.command("Shutdown", { parameters: { shutdownType: "CLEAR" } });
    const after = engine.savePermanent();
    return { permanent: after, certificates, lost: lostWith(before, decodePermanent(after), certificates) };
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
    throw new StateError("conflict", `the TPM refuses a new identity: ${error.message}`, { cause: error });
  } finally {
    engine.wipe();
  }
}

const platform = { authHandle: "PLATFORM" } as const;

async function changeSeeds(client: TpmClient, clearDisabled: boolean): Promise<void> {
  await client.command("Startup", { parameters: { startupType: "CLEAR" } });
  // The original's random number generator must not be this one's.
  await client.command("StirRandom", { parameters: { inData: crypto.getRandomValues(new Uint8Array(128)) } });
  const clearControl = (disable: boolean) =>
    client.command("ClearControl", { handles: { auth: "PLATFORM" }, parameters: { disable } });
  if (clearDisabled) await clearControl(false);
  await client.command("Clear", { handles: { authHandle: "PLATFORM" } });
  if (clearDisabled) await clearControl(true);
  await client.command("ChangePPS", { handles: platform });
  await client.command("ChangeEPS", { handles: platform });
}

async function oldCertificates(
  client: TpmClient,
  state: PermanentState,
  remove: boolean,
): Promise<CertificateOfOldIdentity[]> {
  const found: CertificateOfOldIdentity[] = [];
  for (const index of nvIndices(state)) {
    const subject = certificateSubject(index);
    if (subject === undefined) continue;
    found.push({ handle: index.handle, subject, removed: remove && (await undefine(client, index)) });
  }
  return found;
}

/** The subject of a certificate in the index; undefined where there is none. */
function certificateSubject({ handle, data }: NvIndexFacts): string | undefined {
  const bytes = data.reveal();
  const DER_SEQUENCE = 0x30;
  if (handle < CERTIFICATES.first || handle > CERTIFICATES.last || bytes[0] !== DER_SEQUENCE) return undefined;
  try {
    return `certificate of ${new X509Certificate(bytes).subject.replaceAll("\n", ", ") || "the endorsement key"}`;
  } catch {
    // An attribute certificate of the platform, or one that only begins like one.
    return "certificate";
  }
}

async function undefine(client: TpmClient, { handle, publicArea }: NvIndexFacts): Promise<boolean> {
  if (publicArea.attributes.POLICY_DELETE) return false;
  await client.command("NV_UndefineSpace", { handles: { authHandle: "PLATFORM", nvIndex: handle } });
  return true;
}

function lostWith(
  before: PermanentState,
  after: PermanentState,
  certificates: readonly CertificateOfOldIdentity[],
): string[] {
  const told = certificates.map(({ handle }) => handle);
  const rest = new Set(after.userNvram.entries.map(({ handle }) => handle));
  const gone = before.userNvram.entries.map(({ handle }) => handle).filter((handle) => !rest.has(handle));
  return gone
    .filter((handle) => !told.includes(handle))
    .map((handle) => {
      const what = handle >>> 24 === 0x81 ? "persistent object" : "NV index";
      return `0x${handle.toString(16).padStart(8, "0")}: ${what} of the old identity: not in the clone`;
    });
}

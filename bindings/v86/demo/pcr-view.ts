// The table of PCRs: read from the TPM itself, compared with what the event log says.
import { decodeResponse, encodeCommand } from "../../../src/codec/index.ts";
import { type BankName, replayEventLog, type V86Tpm } from "../index.ts";

/** TPM_CC_PCR_Read. */
const PCR_READ = 0x17e;
const PCR_COUNT = 24;
/** TPM2_PCR_Read gives at most that many values at once. */
const PER_COMMAND = 8;
/** PCRs that only the firmware extends: the log accounts for all of their value. */
const LOGGED = 8;

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * The values of a bank, or undefined when the TPM is busy, is not started or has no such bank. The commands go past the guest, between two of
 * its own: reading PCRs changes nothing it could see, except that an exclusive audit session ends.
 */
async function readBank(tpm: V86Tpm, bank: BankName): Promise<string[] | undefined> {
  const values: string[] = [];
  for (let first = 0; first < PCR_COUNT; first += PER_COMMAND) {
    const pcrs = Array.from({ length: PER_COMMAND }, (_, i) => first + i);
    const selection = [{ hash: bank.toUpperCase() as Uppercase<BankName>, pcrSelect: pcrs }];
    const command = encodeCommand("PCR_Read", { parameters: { pcrSelectionIn: selection } });
    try {
      const response = decodeResponse(await tpm.backend.execute(command, 0), PCR_READ);
      const read = response.parameters.pcrValues as Uint8Array[] | undefined;
      if (read?.length !== PER_COMMAND) return undefined;
      values.push(...read.map(hex));
    } catch {
      return undefined;
    }
  }
  return values;
}

export class PcrView {
  readonly #table: HTMLTableElement;
  readonly #bank: HTMLSelectElement;
  readonly #replay: HTMLElement;
  #shown: string[] = [];

  constructor(table: HTMLTableElement, bank: HTMLSelectElement, replay: HTMLElement) {
    this.#table = table;
    this.#bank = bank;
    this.#replay = replay;
  }

  /** Shows what is there now. Answers false when the TPM could not be read. */
  async update(tpm: V86Tpm): Promise<boolean> {
    const bank = this.#bank.value as BankName;
    const values = await readBank(tpm, bank);
    if (!values) return false;
    const logged = await replayEventLog(tpm.eventLog(), bank);
    let matching = 0;
    const rows = values.map((value, pcr) => {
      const expected = pcr < LOGGED ? logged.get(pcr) : undefined;
      const matches = expected && hex(expected) === value;
      if (matches) matching++;
      const row = document.createElement("tr");
      row.dataset.pcr = `${pcr}`;
      row.classList.toggle("unused", /^(0+|f+)$/.test(value));
      row.classList.toggle("changed", this.#shown.length > 0 && this.#shown[pcr] !== value);
      const cells = [`${pcr}`, value, ""].map((text) => {
        const cell = row.insertCell();
        cell.textContent = text;
        return cell;
      });
      cells[1]!.className = "value";
      cells[1]!.title = value;
      if (expected) cells[2]!.className = matches ? "matches" : "differs";
      return row;
    });
    this.#shown = values;
    this.#table.replaceChildren(...rows);
    this.#replay.textContent =
      logged.size > 0 ? `${matching} of ${logged.size} logged PCRs replay from the event log` : "";
    return true;
  }

  clear(): void {
    this.#shown = [];
    this.#table.replaceChildren();
    this.#replay.textContent = "";
  }
}

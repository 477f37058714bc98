// The table of the event log.
import type { BankName, EventLog, LoggedEvent } from "../index.ts";

/** Event types (TCG PC Client Platform Firmware Profile 1.06, 10.4.1). */
const TYPES: Readonly<Record<number, string>> = {
  0: "EV_PREBOOT_CERT",
  1: "EV_POST_CODE",
  3: "EV_NO_ACTION",
  4: "EV_SEPARATOR",
  5: "EV_ACTION",
  6: "EV_EVENT_TAG",
  7: "EV_S_CRTM_CONTENTS",
  8: "EV_S_CRTM_VERSION",
  9: "EV_CPU_MICROCODE",
  10: "EV_PLATFORM_CONFIG_FLAGS",
  11: "EV_TABLE_OF_DEVICES",
  12: "EV_COMPACT_HASH",
  13: "EV_IPL",
  14: "EV_IPL_PARTITION_DATA",
  15: "EV_NONHOST_CODE",
  16: "EV_NONHOST_CONFIG",
  17: "EV_NONHOST_INFO",
  18: "EV_OMIT_BOOT_DEVICE_EVENTS",
};

const DIGEST_BYTES = 8;
const DATA_BYTES = 48;

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Text if it is text, else digits. */
function dataText(data: Uint8Array): string {
  const text = new TextDecoder().decode(data).replace(/\0+$/, "");
  return text !== "" && /^[\x20-\x7e]*$/.test(text) ? text : hex(data.subarray(0, DATA_BYTES));
}

function row(event: LoggedEvent, bank: BankName): HTMLTableRowElement {
  const element = document.createElement("tr");
  const type = TYPES[event.type] ?? `0x${event.type.toString(16)}`;
  const digest = event.digests.get(bank);
  const cells = [`${event.pcr}`, type, digest ? `${hex(digest.subarray(0, DIGEST_BYTES))}…` : "", dataText(event.data)];
  for (const text of cells) element.insertCell().textContent = text;
  return element;
}

export class LogView {
  readonly #body: HTMLElement;
  readonly #summary: HTMLElement;
  #shown = "";

  constructor(body: HTMLElement, summary: HTMLElement) {
    this.#body = body;
    this.#summary = summary;
  }

  update(log: EventLog, bank: BankName): void {
    const shown = `${log.size} ${bank}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#body.replaceChildren(...log.events.map((event) => row(event, bank)));
    this.#summary.textContent = log.size === 0 ? "" : `${log.events.length} events, ${log.size} bytes`;
  }
}

// The commands of the guest as they pass, one line each; decoded in full when a line is opened.
import {
  decodeCommand,
  decodeResponse,
  describeCommand,
  describeResponse,
  formatCommand,
  formatResponse,
} from "../../../src/codec/index.ts";

const MAX_ROWS = 500;
const HEADER_SIZE = 10;

const word = (bytes: Uint8Array) =>
  bytes.length < HEADER_SIZE ? 0 : new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(6);

export class CommandView {
  readonly #list: HTMLElement;
  readonly #summary: HTMLElement;
  #count = 0;
  #start = performance.now();

  constructor(list: HTMLElement, summary: HTMLElement) {
    this.#list = list;
    this.#summary = summary;
  }

  clear(): void {
    this.#count = 0;
    this.#start = performance.now();
    this.#list.replaceChildren();
    this.#summary.textContent = "";
  }

  add(command: Uint8Array, response: Uint8Array | undefined, locality: number): void {
    const code = word(command);
    const line = document.createElement("li");
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    const time = document.createElement("time");
    time.textContent = `${((performance.now() - this.#start) / 1000).toFixed(2)} s`;
    const texts = [describeCommand(command), response ? describeResponse(response, code) : "no response"].map(
      (text, i) => {
        const element = document.createElement("span");
        element.className = i === 0 ? "command" : "response";
        element.textContent = text;
        return element;
      },
    );
    summary.append(time, ...texts);
    details.append(summary);
    details.classList.toggle("failed", !response || word(response) !== 0);
    details.addEventListener("toggle", () => {
      if (details.childElementCount > 1) return;
      const text = document.createElement("pre");
      const parts = [
        formatCommand(decodeCommand(command)),
        response ? formatResponse(decodeResponse(response, code)) : "",
      ];
      text.textContent = `locality ${locality}\n${parts.join("\n\n")}`;
      details.append(text);
    });
    line.append(details);

    const list = this.#list;
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    list.append(line);
    if (list.childElementCount > MAX_ROWS) list.firstElementChild!.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
    this.#count++;
    this.#summary.textContent = `${this.#count} so far; click one to see all of it`;
  }
}

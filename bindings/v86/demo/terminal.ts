// A terminal for a serial port, as simple as a shell's line editor allows: lines, carriage return, backspace, clearing.

const MAX_LINES = 2000;
const TAB = 8;
const ESCAPE = 0x1b;

/** Bytes that keys send besides the characters they print. */
const KEYS: Readonly<Record<string, string>> = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: "\x1b",
  ArrowUp: "\x1b[A",
  ArrowDown: "\x1b[B",
  ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D",
  Home: "\x1b[H",
  End: "\x1b[F",
  Delete: "\x1b[3~",
};

/** What is on a terminal. */
export interface Screen {
  readonly lines: readonly (readonly string[])[];
  readonly column: number;
}

export class Terminal {
  readonly #element: HTMLElement;
  #lines: string[][] = [[]];
  #column = 0;
  /** The control sequence being received. */
  #sequence: string | undefined;
  #drawing = false;

  /** Shows what is written in `element`, and gives what is typed there to `send`. */
  constructor(element: HTMLElement, send: (text: string) => void) {
    this.#element = element;
    element.tabIndex = 0;
    element.addEventListener("keydown", (event) => {
      const text = keyText(event);
      if (text === undefined) return;
      event.preventDefault();
      send(text);
    });
    element.addEventListener("paste", (event) => {
      event.preventDefault();
      send((event.clipboardData?.getData("text") ?? "").replaceAll(/\r?\n/g, "\r"));
    });
  }

  get screen(): Screen {
    return { lines: this.#lines.map((line) => [...line]), column: this.#column };
  }

  set screen({ lines, column }: Screen) {
    this.#lines = lines.map((line) => [...line]);
    this.#column = column;
    this.#sequence = undefined;
    this.#draw();
  }

  clear(): void {
    this.screen = { lines: [[]], column: 0 };
  }

  /** A byte from the serial port. */
  write(byte: number): void {
    if (this.#sequence !== undefined) this.#continueSequence(String.fromCharCode(byte));
    else if (byte === ESCAPE) this.#sequence = "";
    else this.#put(byte);
    this.#draw();
  }

  get #line(): string[] {
    return this.#lines.at(-1)!;
  }

  #put(byte: number): void {
    switch (byte) {
      case 0x08:
        this.#column = Math.max(0, this.#column - 1);
        break;
      case 0x09:
        this.#column = (Math.floor(this.#column / TAB) + 1) * TAB;
        break;
      case 0x0a:
        this.#lines.push([]);
        if (this.#lines.length > MAX_LINES) this.#lines.shift();
        break;
      case 0x0d:
        this.#column = 0;
        break;
      default:
        if (byte < 0x20) return;
        while (this.#line.length < this.#column) this.#line.push(" ");
        this.#line[this.#column++] = String.fromCharCode(byte);
    }
  }

  /** Control sequences (ECMA-48): those of a line editor are obeyed, all others are left out. */
  #continueSequence(letter: string): void {
    const sequence = this.#sequence + letter;
    const whole = sequence[0] !== "[" || /^\[[0-9;?]*[@-~]$/.test(sequence);
    this.#sequence = whole ? undefined : sequence;
    if (!whole) return;
    const count = Number.parseInt(sequence.slice(1), 10) || 1;
    switch (sequence.at(-1)) {
      case "J":
      case "K":
        this.#line.length = Math.min(this.#line.length, this.#column);
        break;
      case "C":
        this.#column += count;
        break;
      case "D":
        this.#column = Math.max(0, this.#column - count);
        break;
    }
  }

  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      const element = this.#element;
      const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 4;
      const last = this.#line;
      const before = [
        ...this.#lines.slice(0, -1).map((line) => `${line.join("")}\n`),
        last.slice(0, this.#column).join(""),
      ];
      const cursor = document.createElement("span");
      cursor.className = "cursor";
      cursor.textContent = last[this.#column] ?? " ";
      element.replaceChildren(before.join(""), cursor, last.slice(this.#column + 1).join(""));
      if (atEnd) element.scrollTop = element.scrollHeight;
    });
  }
}

function keyText({ key, ctrlKey, altKey, metaKey }: KeyboardEvent): string | undefined {
  if (altKey || metaKey) return undefined;
  if (ctrlKey) return /^[a-z]$/.test(key) && key !== "v" ? String.fromCharCode(key.charCodeAt(0) & 0x1f) : undefined;
  return KEYS[key] ?? (key.length === 1 ? key : undefined);
}

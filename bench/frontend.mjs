// Measures the hardware interfaces in process: node bench/frontend.mjs [--seconds 1]
//
// Nanoseconds per register access (goal: below 100), microseconds per command through a FIFO and a CRB with the engine
// behind it (goal for TPM2_PCR_Read through the FIFO: below 20). Printed are the best and the median of the rounds.
import { buildWasm } from "../scripts/build-wasm.mjs";
import { importTypeScript } from "../scripts/import-typescript.mjs";

const at = process.argv.indexOf("--seconds");
const seconds = at < 0 ? 1 : Number(process.argv[at + 1]);
const ROUNDS = 9;

await buildWasm(["frontend", "tpm2"]);
const { BackendPort, CrbDevice, frontendModule, TisDevice } = await importTypeScript("src/frontend/index.ts");
const { createEngineBackend } = await importTypeScript("src/engine/engine-backend.ts");
const { MemoryStore } = await importTypeScript("src/state/memory-store.ts");

const ACCESS = 0x00;
const INT_STATUS = 0x10;
const STS = 0x18;
const FIFO = 0x24;
const REQUEST_USE = 0x02;
const COMMAND_READY = 0x40;
const GO = 0x20;
const DATA_AVAILABLE = 0x10;
const EXPECT = 0x08;

function row(name, scale, unit, work) {
  const times = [];
  let calls = 64;
  work(calls);
  for (let round = 0; round < ROUNDS; round++) {
    for (;;) {
      const start = performance.now();
      work(calls);
      const elapsed = performance.now() - start;
      if (elapsed * ROUNDS >= seconds * 1000) {
        times.push((elapsed / calls) * scale);
        break;
      }
      calls = Math.ceil(calls * Math.min(10, (seconds * 1200) / ROUNDS / Math.max(elapsed, 0.01)));
    }
  }
  times.sort((a, b) => a - b);
  const [best, median] = [times[0], times[ROUNDS >> 1]].map((time) => time.toFixed(time < 10 ? 2 : 1).padStart(8));
  console.log(`${name.padEnd(48)} best ${best}  median ${median} ${unit}`);
}

const repeat = (work) => (calls) => {
  for (let i = 0; i < calls; i++) work(i);
};

console.log(`${process.release.name} ${process.version}, V8 ${process.versions.v8}`);
const NS = 1e6;
const US = 1e3;

const silent = {
  family: "2.0",
  settle() {},
  queryBufferSize: () => 4096,
  startup() {},
  submit: () => true,
  cancel() {},
  established: () => false,
  resetEstablished() {},
};
const tis = new TisDevice(silent);
await tis.reset();
tis.write(ACCESS, 1, REQUEST_USE);
tis.write(STS, 4, COMMAND_READY);
let sink = 0;
row(
  "TIS: read ACCESS, 1 byte",
  NS,
  "ns",
  repeat(() => {
    sink ^= tis.read(ACCESS, 1);
  }),
);
row(
  "TIS: read STS, 4 bytes",
  NS,
  "ns",
  repeat(() => {
    sink ^= tis.read(STS, 4);
  }),
);
row(
  "TIS: read STS, 1 byte of burstCount",
  NS,
  "ns",
  repeat(() => {
    sink ^= tis.read(STS + 1, 1);
  }),
);
row(
  "TIS: write INT_STATUS, 4 bytes",
  NS,
  "ns",
  repeat(() => tis.write(INT_STATUS, 4, 0x87)),
);
row(
  "TIS: write FIFO, 1 byte",
  NS,
  "ns",
  repeat((i) => {
    if ((i & 0x7ff) === 0) tis.write(STS, 4, COMMAND_READY);
    tis.write(FIFO, 1, i);
  }),
);
row(
  "TIS: read 8 bytes, unaligned",
  NS,
  "ns",
  repeat(() => {
    sink ^= Number(tis.readWide(0x11, 8) & 1n);
  }),
);
const crb = new CrbDevice(silent);
await crb.reset();
row(
  "CRB: read CTRL_START, 4 bytes",
  NS,
  "ns",
  repeat(() => {
    sink ^= crb.read(0x4c, 4);
  }),
);
row(
  "CRB: write a word of the buffer",
  NS,
  "ns",
  repeat((i) => crb.write(0x80 + ((i * 4) & 0x7ff), 4, i)),
);
const module = frontendModule();
row(
  "a new device",
  US,
  "us",
  repeat(() => {
    sink ^= new TisDevice(silent, { module }).bufferSize;
  }),
);

/** TPM2_Startup(CLEAR) and TPM2_PCR_Read of PCR 0, SHA-256. */
const STARTUP = Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);
const PCR_READ = Uint8Array.of(0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0);

const backend = createEngineBackend({ store: new MemoryStore() });
/** A command through the FIFO in accesses of `width` bytes, as the Linux driver does; answers its response code. */
function throughFifo(device, command, width) {
  device.write(STS, 1, COMMAND_READY);
  let i = 0;
  if (width === 4) {
    for (; i + 4 < command.length; i += 4) {
      device.write(FIFO, 4, command[i] | (command[i + 1] << 8) | (command[i + 2] << 16) | (command[i + 3] << 24));
    }
  }
  for (; i < command.length; i++) device.write(FIFO, 1, command[i]);
  if (device.read(STS, 1) & EXPECT) throw new Error("the device wants more");
  device.write(STS, 1, GO);
  if (!(device.read(STS, 1) & DATA_AVAILABLE)) throw new Error("no response");
  const size = (device.read(STS, 4) >>> 8) & 0xffff;
  let code = 0;
  for (let n = 0; n < size; n += width) {
    const value = device.read(FIFO, width);
    if (width === 1 && n >= 6 && n < 10) code = (code << 8) | value;
    if (width === 4 && n === 8) code = value & 0xff00;
  }
  return code;
}
const live = new TisDevice(new BackendPort(backend));
await live.reset();
live.write(ACCESS, 1, REQUEST_USE);
if (throughFifo(live, STARTUP, 1) !== 0) throw new Error("TPM2_Startup failed");
for (const width of [1, 4]) {
  if (throughFifo(live, PCR_READ, width) !== 0) throw new Error("TPM2_PCR_Read failed");
  row(
    `TPM2_PCR_Read through the FIFO, ${width} byte(s) at a time`,
    US,
    "us",
    repeat(() => throughFifo(live, PCR_READ, width)),
  );
}
row(
  "TPM2_PCR_Read in the engine alone",
  US,
  "us",
  repeat(() => {
    sink ^= backend.execute(PCR_READ, 0).length;
  }),
);

const crbBackend = createEngineBackend({ store: new MemoryStore() });
const liveCrb = new CrbDevice(new BackendPort(crbBackend));
await liveCrb.reset();
liveCrb.write(0x08, 4, 1);
function throughCrb(command) {
  liveCrb.write(0x40, 4, 1);
  for (let i = 0; i < command.length; i += 4) {
    liveCrb.write(0x80 + i, 4, command[i] | (command[i + 1] << 8) | (command[i + 2] << 16) | (command[i + 3] << 24));
  }
  liveCrb.write(0x4c, 4, 1);
  if (liveCrb.read(0x4c, 4) !== 0) throw new Error("no response");
  const size = (liveCrb.read(0x84, 1) << 8) | liveCrb.read(0x85, 1);
  for (let i = 0; i < size; i += 4) sink ^= liveCrb.read(0x80 + i, 4);
  return liveCrb.read(0x88, 2);
}
if (throughCrb(STARTUP) !== 0 || throughCrb(PCR_READ) !== 0) throw new Error("commands through the CRB failed");
row(
  "TPM2_PCR_Read through the CRB",
  US,
  "us",
  repeat(() => throughCrb(PCR_READ)),
);
if (sink === 0.5) console.log(sink);

// Runs in a guest whose /dev/tpm0 is a TPM 2.0: uses it through the passthrough backend and reports what it found.
import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { openPassthrough } from "wtpm";
import { TpmClient } from "wtpm/client";
import { BackendPort, TisDevice } from "wtpm/frontend";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const report = (name, value) => writeFileSync("/dev/ttyS1", `${JSON.stringify({ name, value })}\n`);
const outcome = (work) =>
  Promise.resolve()
    .then(work)
    .then(
      () => "done",
      ({ kind, message }) => `${kind}: ${message}`,
    );

const STARTUP = unhex("80010000000c000001440000");
const GET_RANDOM = unhex("80010000000c0000017b0010");
const NV_INDEX = 0x1500016;

/** How the driver itself takes what no TPM would. */
function driverErrors() {
  const fd = openSync("/dev/tpm0", constants.O_RDWR);
  const write = (bytes) => {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      return error.code;
    }
  };
  const errors = { short: write(GET_RANDOM.subarray(0, 11)), long: write(new Uint8Array(5000)) };
  write(GET_RANDOM);
  errors.second = write(GET_RANDOM);
  closeSync(fd);
  return errors;
}

/** How many milliseconds an RSA key takes, over all of the way. */
async function keyGeneration(client) {
  const began = performance.now();
  const key = await client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: {
      inSensitive: { userAuth: "", data: "" },
      inPublic: {
        type: "RSA",
        nameAlg: "SHA256",
        objectAttributes: {
          fixedTPM: true,
          fixedParent: true,
          sensitiveDataOrigin: true,
          userWithAuth: true,
          restricted: true,
          decrypt: true,
        },
        authPolicy: "",
        parameters: {
          symmetric: { algorithm: "AES", keyBits: 128, mode: "CFB" },
          scheme: { scheme: "NULL" },
          keyBits: 2048,
          exponent: 0,
        },
        unique: "",
      },
      outsideInfo: "",
      creationPCR: [],
    },
  });
  await client.command("FlushContext", { parameters: { flushHandle: key.objectHandle } });
  return Math.round(performance.now() - began);
}

/** Our own TIS in front of the host's TPM, driven as a guest's driver drives it. */
async function throughTis(backend, command) {
  const tis = new TisDevice(new BackendPort(backend));
  await tis.reset();
  tis.write(0x00, 1, 0x02);
  tis.write(0x18, 1, 0x40);
  for (const byte of command) tis.write(0x24, 1, byte);
  tis.write(0x18, 1, 0x20);
  while (!(tis.read(0x18, 1) & 0x10)) await new Promise((resolve) => setImmediate(resolve));
  const response = [];
  while (tis.read(0x18, 1) & 0x10) response.push(tis.read(0x24, 1));
  return hex(Uint8Array.from(response));
}

async function main() {
  report("driver", driverErrors());
  const backend = await openPassthrough();
  report("family", backend.family);
  report("cancelable", backend.cancelable);
  report("cancelFile", existsSync("/sys/class/tpm/tpm0/device/cancel"));
  report("bufferSize", await backend.bufferSize());
  report("secondOpen", await outcome(() => openPassthrough()));
  await backend.powerOn();
  report("startup", hex(await backend.execute(STARTUP, 0)));
  report("random", hex(await backend.execute(GET_RANDOM, 0)));

  const client = new TpmClient((command) => backend.execute(command, 0));
  await client.command("PCR_Extend", {
    handles: { pcrHandle: 16 },
    parameters: { digests: [{ hashAlg: "SHA256", digest: "cd".repeat(32) }] },
  });
  const { pcrValues } = await client.command("PCR_Read", {
    parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [16] }] },
  });
  report("pcr", hex(pcrValues[0]));
  report("keyMilliseconds", await keyGeneration(client));
  await client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth: "",
      publicInfo: {
        nvIndex: NV_INDEX,
        nameAlg: "SHA256",
        attributes: { OWNERWRITE: true, OWNERREAD: true },
        authPolicy: "",
        dataSize: 5,
      },
    },
  });
  await client.command("NV_Write", {
    handles: { authHandle: "OWNER", nvIndex: NV_INDEX },
    parameters: { data: hex(Buffer.from("hello")), offset: 0 },
  });

  const running = backend.execute(GET_RANDOM, 0);
  report("busy", await outcome(() => backend.execute(GET_RANDOM, 0)));
  report("cancel", await outcome(() => backend.cancel()));
  await running;
  await backend.powerOff();
  report("tis", await throughTis(backend, GET_RANDOM));
  await backend.close();
  report("sysfs", readFileSync("/sys/class/tpm/tpm0/pcr-sha256/16", "utf8").trim().toLowerCase());

  const shared = await Promise.all([1, 2].map(() => openPassthrough({ path: "/dev/tpmrm0" })));
  await Promise.all(shared.map((each) => each.powerOn()));
  const responses = await Promise.all(shared.map((each) => each.execute(GET_RANDOM, 0)));
  report("shared", responses.map(hex));
  await Promise.all(shared.map((each) => each.close()));
}

main()
  .catch((error) => report("error", error.stack))
  .finally(() => report("end", Math.round(performance.now())));

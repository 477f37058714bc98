// The TPM's device in the ACPI namespace, with its physical presence interface (TCG PPI 1.3) and memory overwrite request
// (TCG Platform Reset Attack Mitigation 1.10), term for term as QEMU writes it.
import type { TpmFamily } from "../backend/backend.ts";
import {
  type Aml,
  ANY_ACCESS,
  add,
  and,
  arg,
  BYTE_ACCESS,
  buffer,
  call,
  define,
  derefOf,
  device,
  eisaId,
  element,
  equal,
  field,
  greaterOrEqual,
  ifThen,
  integer,
  local,
  memoryRegion,
  memoryResources,
  method,
  name,
  ONE,
  packageOf,
  returns,
  store,
  string,
  uuid,
  ZERO,
} from "./aml.ts";
import { PPI_BASE, PPI_FUNCTION, PPI_LAYOUT } from "./ppi.ts";

const PPI_UUID = "3dddfaa6-361b-4eb4-a424-8d10089d1653";
const MEMORY_OVERWRITE_UUID = "376054ed-cc13-4675-901c-4756d7f2d45d";
const PPI_VERSION = "1.3";

/** Results of the interface's functions. */
const SUBMIT_SUCCESS = 0;
const SUBMIT_NOT_IMPLEMENTED = 1;
const SUBMIT_BLOCKED = 3;
const TRANSITION_REBOOT = 2;
const LANGUAGE_NOT_IMPLEMENTED = 3;

const FUNCTION_MASK = integer(7);

/** Returns the first field's value wrapped in the package of that length whose other elements are the values given. */
function returnPackage(packageName: string, ...values: readonly Aml[]): Aml[] {
  return [...values.map((value, i) => store(value, element(name(packageName), i + 1))), returns(name(packageName))];
}

const requested = arg(2);
const revision = arg(1);
const operation = local(0);
const allowance = and(local(1), FUNCTION_MASK);

function onFunction(n: number, ...terms: readonly Aml[]): Aml {
  return ifThen(equal(requested, integer(n)), ...terms);
}

function onRevision(n: number, ...terms: readonly Aml[]): Aml {
  return ifThen(equal(revision, integer(n)), ...terms);
}

/** Local0 = the operation asked for, Local1 = what the firmware says of it. */
const lookUp = [store(derefOf(element(arg(3), 0)), operation), store(call("TPFN", operation), local(1))];

function refuse(kind: number, result: number): Aml {
  return ifThen(equal(allowance, integer(kind)), returns(integer(result)));
}

function request(parameter: Aml): Aml[] {
  return [store(operation, name("PPRQ")), store(parameter, name("PPRM"))];
}

/** The functions of the physical presence interface, by number. */
const PRESENCE_FUNCTIONS = [
  onFunction(0, returns(buffer([0xff, 0x01]))),
  onFunction(1, returns(string(PPI_VERSION))),
  onFunction(
    2,
    ...lookUp,
    refuse(PPI_FUNCTION.notImplemented, SUBMIT_NOT_IMPLEMENTED),
    ...request(ZERO),
    returns(integer(SUBMIT_SUCCESS)),
  ),
  onFunction(
    3,
    onRevision(1, ...returnPackage("TPM2", name("PPRQ"))),
    onRevision(2, ...returnPackage("TPM3", name("PPRQ"), name("PPRM"))),
  ),
  onFunction(4, returns(integer(TRANSITION_REBOOT))),
  onFunction(5, ...returnPackage("TPM3", name("LPPR"), name("PPRP"))),
  onFunction(6, returns(integer(LANGUAGE_NOT_IMPLEMENTED))),
  onFunction(
    7,
    ...lookUp,
    refuse(PPI_FUNCTION.notImplemented, SUBMIT_NOT_IMPLEMENTED),
    refuse(PPI_FUNCTION.blocked, SUBMIT_BLOCKED),
    onRevision(1, ...request(ZERO)),
    onRevision(2, ...request(derefOf(element(arg(3), 1)))),
    returns(integer(SUBMIT_SUCCESS)),
  ),
  onFunction(8, ...lookUp, returns(allowance)),
  returns(buffer([0])),
];

const OVERWRITE_FUNCTIONS = [
  onFunction(0, returns(buffer([0x03]))),
  onFunction(1, store(derefOf(element(arg(3), 0)), operation), store(operation, name("MOVV")), returns(ZERO)),
];

/** TPFN (operation): what the firmware's table at the page's beginning says, 0 for operations it has no entry for. */
const LOOK_UP_FUNCTION = method(
  "TPFN",
  1,
  ifThen(greaterOrEqual(arg(0), integer(0x100)), returns(ZERO)),
  memoryRegion("TPP1", add(integer(PPI_BASE), arg(0)), 1),
  field("TPP1", BYTE_ACCESS, [["TPPF", 8]]),
  returns(name("TPPF")),
);

function physicalPresence(): Aml[] {
  return [
    memoryRegion("TPP2", integer(PPI_BASE + PPI_LAYOUT.ppin), PPI_LAYOUT.movv - PPI_LAYOUT.ppin),
    field("TPP2", ANY_ACCESS, [
      ["PPIN", 8],
      ["PPIP", 32],
      ["PPRP", 32],
      ["PPRQ", 32],
      ["PPRM", 32],
      ["LPPR", 32],
    ]),
    memoryRegion("TPP3", integer(PPI_BASE + PPI_LAYOUT.movv), 1),
    field("TPP3", BYTE_ACCESS, [["MOVV", 8]]),
    LOOK_UP_FUNCTION,
    define("TPM2", packageOf(ZERO, ZERO)),
    define("TPM3", packageOf(ZERO, ZERO, ZERO)),
    method(
      "_DSM",
      4,
      ifThen(equal(arg(0), uuid(PPI_UUID)), ...PRESENCE_FUNCTIONS),
      ifThen(equal(arg(0), uuid(MEMORY_OVERWRITE_UUID)), ...OVERWRITE_FUNCTIONS),
    ),
  ];
}

const STATUS_PRESENT = 0x0f;
const HID_2_0 = [define("_HID", string("MSFT0101")), define("_STR", string("TPM 2.0 Device"))];
const HID_1_2 = [define("_HID", eisaId("PNP0C31"))];

/** Device (TPM) of a TIS on the ISA bus of a PC. */
export function isaTisDevice(family: TpmFamily, base: number, size: number, ppi: boolean): Aml {
  return device(
    "TPM",
    ...(family === "2.0" ? HID_2_0 : HID_1_2),
    define("_UID", ONE),
    define("_STA", integer(STATUS_PRESENT)),
    define("_CRS", memoryResources(base, size)),
    ...(ppi ? physicalPresence() : []),
  );
}

/** Device (TPM) of a CRB on a PC. It is a TPM 2.0's whatever the TPM is. */
export function crbDevice(base: number, size: number, ppi: boolean): Aml {
  return device(
    "TPM",
    ...HID_2_0,
    define("_CRS", memoryResources(base, size)),
    define("_STA", integer(STATUS_PRESENT)),
    define("_UID", ONE),
    ...(ppi ? physicalPresence() : []),
  );
}

/** Device (TPM0) of a TIS on Arm's virt machine. It is a TPM 2.0's whatever the TPM is. */
export function sysbusTisDevice(base: number, size: number): Aml {
  return device("TPM0", ...HID_2_0, define("_UID", ZERO), define("_CRS", memoryResources(base, size)));
}

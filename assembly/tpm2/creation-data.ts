// Creation data (Part 1, 29): under which circumstances an object was made, and their digest.
import { TPM2B, copy2B, outputAt, setOutput } from "./cursor";
import { g } from "./data";
import { entityHierarchy, entityName } from "./entity";
import { TPM_ALG_NULL } from "./generated/constants";
import {
  SIZEOF_TPML_PCR_SELECTION_RECORD,
  SIZEOF_TPMS_CREATION_DATA_RECORD,
  TPM2B_CREATION_DATA,
  TPML_PCR_SELECTION,
  TPMT_TK_CREATION,
  marshal_TPMS_CREATION_DATA,
} from "./generated/structures";
import { cryptHashBlock } from "./hash";
import { objectOf } from "./object";
import { qualifiedName } from "./object-load";
import { pcrComputeCurrentDigest } from "./pcr";
import { ticketComputeCreation } from "./tickets";

// No field is longer marshalled than in memory.
const MARSHALLED: usize = memory.data(SIZEOF_TPMS_CREATION_DATA_RECORD, 8);

/** TPMA_LOCALITY of the locality that a command came from: a bit each for 0 to 4, the number itself beyond. */
function localityAttributes(locality: u32): u32 {
  return locality <= 4 ? 1 << locality : locality;
}

/**
 * Fills in creation data, creation hash and creation ticket of the new object `name` under `parentHandle`, a hierarchy or a
 * loaded parent.
 */
export function fillInCreation(
  parentHandle: u32,
  nameAlg: u32,
  creationPCR: TPML_PCR_SELECTION,
  outsideInfo: TPM2B,
  name: TPM2B,
  creation: TPM2B_CREATION_DATA,
  creationHash: TPM2B,
  ticket: TPMT_TK_CREATION,
): void {
  const data = creation.creationData;
  pcrComputeCurrentDigest(nameAlg, creationPCR, data.pcrDigest);
  memory.copy(changetype<usize>(data.pcrSelect), changetype<usize>(creationPCR), SIZEOF_TPML_PCR_SELECTION_RECORD);
  data.locality = localityAttributes(g.locality);
  const parent = objectOf(parentHandle);
  data.parentNameAlg = parent == null ? TPM_ALG_NULL : parent.publicArea.nameAlg;
  entityName(parentHandle, data.parentName);
  copy2B(data.parentQualifiedName, qualifiedName(parentHandle));
  copy2B(data.outsideInfo, outsideInfo);
  const was = outputAt();
  setOutput(MARSHALLED);
  marshal_TPMS_CREATION_DATA(changetype<usize>(data));
  creationHash.size = cryptHashBlock(nameAlg, MARSHALLED, <u32>(outputAt() - MARSHALLED), creationHash.buffer);
  setOutput(was);
  ticketComputeCreation(entityHierarchy(parentHandle), name, creationHash, ticket);
}

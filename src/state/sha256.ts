// SHA-256 of what a commit writes: several short inputs each time.
import crypto, { createHash } from "node:crypto";

/** The digest of the pieces, one behind the other. */
export function sha256(...pieces: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

/** Puts the digest of the pieces, one behind the other, at an offset. */
export function putSha256(out: Buffer, at: number, ...pieces: readonly Uint8Array[]): void {
  // One call instead of three, and no array for 32 bytes. An older Deno or Bun does not have it.
  if (pieces.length === 1 && crypto.hash) out.write(crypto.hash("sha256", pieces[0]!, "binary"), at, "binary");
  else out.set(sha256(...pieces), at);
}

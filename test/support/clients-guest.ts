// A guest that has programs of this machine in it, with their libraries, to use its /dev/tpm0 and /dev/tpmrm0.
import { appendFileSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { type GuestImage, guestImage } from "./guest-image.ts";
import { run } from "./process.ts";

/**
 * An image like `guestImage`'s, with the files given (absolute paths; programs and what they load by name) and the libraries
 * that these are linked with. @throws Error when one of them is not there
 */
export async function guestImageWith(folder: string, files: readonly string[]): Promise<GuestImage> {
  const image = await guestImage(folder);
  const tree = path.join(folder, "programs");
  for (const file of new Set([...files, ...(await librariesOf(files))])) {
    const place = path.join(tree, file);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(file, place);
  }
  const archive = path.join(folder, "programs.cpio");
  const pack = 'find -L . | cpio --quiet -o -L -H newc -F "$1"';
  const packed = await run("sh", ["-c", pack, "sh", archive], { cwd: tree });
  if (packed.status !== 0) throw new Error(`cpio: ${packed.stderr}`);
  // The kernel unpacks one archive after the other.
  appendFileSync(image.initrd, readFileSync(archive));
  return image;
}

async function librariesOf(files: readonly string[]): Promise<string[]> {
  const { status, stdout, stderr } = await run("ldd", files);
  if (status !== 0) throw new Error(`ldd: ${stderr}`);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}

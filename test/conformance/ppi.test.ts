import { describe, expect, it } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { PPI_LAYOUT, PPI_SIZE, PpiMemory } from "../../src/firmware/ppi.ts";

/** A page with `movv` written to it, and how often it had memory cleared. */
function page(movv: number) {
  let cleared = 0;
  const ppi = new PpiMemory(() => {
    cleared++;
  });
  ppi.bytes[PPI_LAYOUT.movv] = movv;
  return { ppi, cleared: () => cleared };
}

describe("the physical presence interface's page", () => {
  it("is zero at power-on", () => {
    expect(new PpiMemory().bytes).toEqual(new Uint8Array(0x400));
  });

  it("packs its fields without gaps, words unaligned", () => {
    const { func, ppin, ppip, pprp, pprq, pprm, lppr, fret, nextStep, movv } = PPI_LAYOUT;
    expect([func, ppin, ppip, pprp, pprq, pprm, lppr, fret]).toEqual([
      0, 0x100, 0x101, 0x105, 0x109, 0x10d, 0x111, 0x115,
    ]);
    expect(movv).toBe(nextStep + 1);
  });

  it.each([0x01, 0x11, 0xff])("clears memory at a reset when movv is %i, and leaves the request", (movv) => {
    const { ppi, cleared } = page(movv);
    ppi.bytes[PPI_LAYOUT.pprq] = 5;
    expect(ppi.reset()).toBe(true);
    expect(cleared()).toBe(1);
    expect(ppi.bytes[PPI_LAYOUT.movv]).toBe(movv);
    expect(ppi.bytes[PPI_LAYOUT.pprq]).toBe(5);
  });

  it.each([0x00, 0x02, 0x10, 0xfe])("leaves memory alone when movv is %i", (movv) => {
    const { ppi, cleared } = page(movv);
    expect(ppi.reset()).toBe(false);
    expect(cleared()).toBe(0);
  });

  it("moves to another machine as its bytes", () => {
    const { ppi } = page(0x01);
    const other = new PpiMemory();
    other.restore(ppi.save());
    expect(other.bytes).toEqual(ppi.bytes);
    expect(() => other.restore(new Uint8Array(PPI_SIZE - 1))).toThrow(BackendError);
    expect(other.bytes).toEqual(ppi.bytes);
  });
});

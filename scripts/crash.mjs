// Kills a server again and again while a client changes its state: npm run crash -- [--kills 1000] [--store dir|backup|file] [--seed TEXT]
//
// After every kill all that was acknowledged has to be there. Without --store every kind of store gets its share of the kills. The program
// has to be built (npm run build).
import { importTypeScript } from "./import-typescript.mjs";

const { KILL_PLACES, killLoop } = await importTypeScript("test/support/faulty-kills.ts");

const options = { kills: "1000", store: "", seed: String(Date.now()) };
const words = process.argv.slice(2);
for (let at = 0; at < words.length; at += 2) {
  const name = words[at].replace(/^--/, "");
  if (!(name in options) || words[at + 1] === undefined) {
    console.error("usage: node scripts/crash.mjs [--kills N] [--store dir|backup|file] [--seed TEXT]");
    process.exit(1);
  }
  options[name] = words[at + 1];
}
const places = options.store ? [options.store] : Object.keys(KILL_PLACES);
const kills = Math.ceil(Number(options.kills) / places.length);

try {
  for (const place of places) {
    if (!KILL_PLACES[place]) throw new Error(`'${place}' is no kind of store: ${Object.keys(KILL_PLACES).join(", ")}`);
    const began = performance.now();
    const { acknowledged, done, undone } = await killLoop(place, kills, options.seed, (report) => {
      if (report.kills % 100 === 0)
        console.log(`${place}: ${report.kills} kills, ${report.acknowledged} changes acknowledged`);
    });
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    console.log(
      `${place}: ${kills} kills in ${seconds} s, nothing lost of ${acknowledged} acknowledged changes; ` +
        `of the changes under way ${done} are there and ${undone} are not (seed ${options.seed})`,
    );
  }
} catch (error) {
  console.error(`${error.message} (seed ${options.seed})`);
  process.exit(1);
}

// What `bin` in package.json points to, once it is bundled.
import { main } from "./main.ts";

// What is left then (a socket that lingers, a timer) must not delay the end.
process.exit(await main(process.argv.slice(2)));

// Unpacks the browser that the package carries: node unpack.mjs PACKAGE FOLDER
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [packed, folder] = process.argv.slice(2);
for (const name of ["chromium", "al2023.tar", "fonts.tar"]) {
  const from = createReadStream(`${packed}/bin/${name}.br`);
  await pipeline(from, createBrotliDecompress(), createWriteStream(`${folder}/${name}`));
}

// node embed.mjs DIST OUT.cpp: the built pages as one C++ source, with what HTTP needs to know of each file.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';

const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const [dist, out] = process.argv.slice(2);
const walk = (folder) => readdirSync(folder, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? walk(join(folder, e.name)) : [join(folder, e.name)]));

// A string literal of any bytes: what is not plain text is written in octal, as that ends by itself.
function literal(bytes) {
  let text = '"';
  let line = 0;
  for (const b of bytes) {
    const c = b === 34 ? '\\"' : b === 92 ? '\\\\' : b === 10 ? '\\n' : b === 63 ? '\\?' : b >= 32 && b < 127 ? String.fromCharCode(b) : `\\${b.toString(8).padStart(3, '0')}`;
    text += c;
    line += c.length;
    if (line > 4000) {
      text += '"\n    "';
      line = 0;
    }
  }
  return `{${text}", ${bytes.length}}`;
}

const files = walk(dist).map((f) => '/' + relative(dist, f)).sort();
if (!files.includes('/index.html')) throw new Error(`${dist} has no index.html`);
const rows = files.map((path) => {
  const type = types[extname(path)];
  if (!type) throw new Error(`${path}: no content type is known for it`);
  const body = readFileSync(join(dist, path));
  const zipped = gzipSync(body, { level: 9 });
  const etag = createHash('sha256').update(body).digest('hex').slice(0, 16);
  const immutable = /^\/assets\/.+-[\w-]{8}\.\w+$/.test(path);
  const smaller = zipped.length < body.length * 0.9;
  return `  {"${path}", "${type}", "\\"${etag}\\"",\n    ${literal(body)},\n    ${smaller ? literal(zipped) : '{}'},\n    ${immutable}},\n`;
});
writeFileSync(out, `// Made by dashboards/web/embed.mjs.
#include "dashboards/assets.hpp"

namespace muster::dashboards {

static constexpr Asset files[] = {
${rows.join('')}};

std::span<const Asset> assets() { return files; }

}  // namespace muster::dashboards
`);

import { defineConfig } from 'vite';

// The pages are embedded in the binary: no source maps, no inlined assets (the content security policy
// forbids inline scripts), names with a hash so that browsers may keep them for ever.
export default defineConfig({
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:9797' } },
});

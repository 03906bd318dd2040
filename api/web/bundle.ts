/** What `dist/files.js` is made of and how it is written: pure, so that a test can compare. */

/** The first page: it shows something before the program has been loaded. */
export const INDEX_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Plesio</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="dashboard.css">
<script type="module" src="dashboard.js"></script>
</head>
<body><main class="splash" id="app"><h1>Plesio</h1></main></body>
</html>
`;

/** A plesiosaur's neck above the water. */
export const ICON_SVG =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" ` +
  `fill="#0b6e75"/><path d="M7 24c7 1 9-2 9-8 0-5 1-9 5-9 3 0 5 2 5 4l-5 1c-2 0-2 3-2 6 0 4 1 6 6 6z" ` +
  `fill="#e8fbfa"/><path d="M4 26q3-2 6 0t6 0 6 0 6 0" stroke="#8fd8d6" stroke-width="2" fill="none"/></svg>`;

/** The module that the server loads. */
export function bundleText(files: Readonly<Record<string, string>>): string {
  return `/** Made by \`deno task web\` of what lies in api/web. */\n` +
    `// @ts-self-types="./files.d.ts"\nexport const FILES = ${JSON.stringify(files, null, 1)};\n`;
}

/** hostPath volumes: checks and makes what their type asks for (pkg/volume/hostpath/host_path.go). */

/** Rejects with upstream's text when the path is not what its type says. */
export async function checkHostPath(path: string, type: string): Promise<void> {
  if (type === "DirectoryOrCreate") return await Deno.mkdir(path, { recursive: true });
  if (type === "FileOrCreate") {
    if (!await stat(path)) {
      (await Deno.open(path, { create: true, write: true, mode: 0o644 })).close();
    } else if (!(await stat(path))?.isFile) {
      throw new Error(`hostPath type check failed: ${path} is not a file`);
    }
    return;
  }
  const info = await stat(path);
  const wrong = (what: string) => {
    throw new Error(`hostPath type check failed: ${path} is not a ${what}`);
  };
  switch (type) {
    case "":
      // Whatever is there; a folder is made where there is nothing, as container runtimes do.
      if (!info) await Deno.mkdir(path, { recursive: true });
      return;
    case "Directory":
      return info?.isDirectory ? undefined : wrong("directory");
    case "File":
      return info?.isFile ? undefined : wrong("file");
    case "Socket":
      return info?.isSocket ? undefined : wrong("socket file");
    case "CharDevice":
      return info?.isCharDevice ? undefined : wrong("character device");
    case "BlockDevice":
      return info?.isBlockDevice ? undefined : wrong("block device");
  }
  throw new Error(`unknown hostPath type "${type}"`);
}

async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

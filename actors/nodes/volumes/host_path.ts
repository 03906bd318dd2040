/** hostPath volumes: checks and makes what their type asks for (pkg/volume/hostpath/host_path.go). */

/** Rejects with upstream's text when the path is not what its type says. */
export async function checkHostPath(path: string, type: string): Promise<void> {
  // The API refuses these already; a node mounts nothing on its word alone.
  if (path.split("/").includes("..")) {
    throw new Error(`invalid HostPath \`${path}\`: must not contain '..'`);
  }
  const info = await stat(path);
  const wrong = (what: string) => {
    throw new Error(`hostPath type check failed: ${path} is not a ${what}`);
  };
  switch (type) {
    case "DirectoryOrCreate":
      if (!info) return await Deno.mkdir(path, { recursive: true, mode: 0o755 });
      return info.isDirectory ? undefined : wrong("directory");
    case "FileOrCreate":
      if (info) return info.isFile ? undefined : wrong("file");
      return (await Deno.open(path, { create: true, write: true, mode: 0o644 })).close();
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
  throw new Error(`${type} is an invalid volume type`);
}

async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

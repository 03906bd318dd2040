import { assertEquals, assertThrows } from "@std/assert";
import { checkReference, credentialsFor, type PullSecret } from "./cri_images.ts";
import { RuntimeError } from "./runtime.ts";

const secretOf = (auths: object): PullSecret => ({
  type: "kubernetes.io/dockerconfigjson",
  data: { ".dockerconfigjson": btoa(JSON.stringify({ auths })) },
});

Deno.test("credentialsFor() finds those of the image's registry, the closest path first", () => {
  const all = [secretOf({
    "https://reg.example/v2/": { username: "u", password: "p" },
    "reg.example/team": { auth: btoa("team:secret:with:colons") },
    "other.example": { username: "no", password: "no" },
  })];
  assertEquals(credentialsFor("reg.example/team/app:1", all), [
    { username: "team", password: "secret:with:colons" },
    { username: "u", password: "p" },
  ]);
  assertEquals(credentialsFor("reg.example/app@sha256:00", all), [{
    username: "u",
    password: "p",
  }]);
  assertEquals(credentialsFor("nginx", all), []);
});

Deno.test("credentialsFor() knows Docker Hub by its names, and globs of hosts and ports", () => {
  const hub = [secretOf({ "https://index.docker.io/v1/": { username: "u", password: "p" } })];
  for (const image of ["nginx", "library/nginx:1", "docker.io/me/app"]) {
    assertEquals(credentialsFor(image, hub).length, 1, image);
  }
  const globs = [secretOf({ "*.reg.example:5000": { identitytoken: "t" } })];
  assertEquals(credentialsFor("a.reg.example:5000/x", globs), [{ identityToken: "t" }]);
  assertEquals(credentialsFor("a.b.reg.example:5000/x", globs), []);
  assertEquals(credentialsFor("a.reg.example/x", globs), []);
});

Deno.test("credentialsFor() reads the old form, and takes nonsense for nothing", () => {
  const old = {
    type: "kubernetes.io/dockercfg",
    data: { ".dockercfg": btoa(JSON.stringify({ "r.example": { username: "u", password: "p" } })) },
  };
  const wrong = { type: "kubernetes.io/dockerconfigjson", data: { ".dockerconfigjson": "!" } };
  assertEquals(credentialsFor("r.example/x", [wrong, old, { type: "Opaque" }]).length, 1);
});

Deno.test("checkReference() refuses what is no image's name", () => {
  for (const good of ["nginx", "a/b:1", "r.example:5000/a/b@sha256:" + "0".repeat(64), "UP/low"]) {
    checkReference(good);
  }
  const cases = [
    ["Nginx", "invalid reference format: repository name must be lowercase"],
    ["a b", "invalid reference format"],
    ["", "invalid reference format"],
  ];
  for (const [image, why] of cases) {
    const error = assertThrows(() => checkReference(image), RuntimeError);
    assertEquals(error.reason, "InvalidImageName");
    assertEquals(
      error.message,
      `Failed to apply default image tag "${image}": couldn't parse image name "${image}": ${why}`,
    );
  }
});

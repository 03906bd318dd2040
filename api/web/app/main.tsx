/** The dashboard's beginning: who one is, then the page that the address names. */
import { render } from "preact";
import { LoginPage } from "./login.tsx";
import { enterByLink, token } from "./session.ts";
import { Shell } from "./shell.tsx";

function Dashboard() {
  return token.value ? <Shell /> : <LoginPage />;
}

await enterByLink();
// A link that is opened where the dashboard is open already loads nothing anew
globalThis.addEventListener("hashchange", () => void enterByLink());
const root = document.getElementById("app")!;
const home = document.createElement("div");
home.id = "app";
root.replaceWith(home);
render(<Dashboard />, home);

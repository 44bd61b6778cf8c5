// The vault: a secret is sealed here, to the vault's key, so that nothing on its way can read it.
// RFC 9180 (HPKE), base mode: X25519, HKDF-SHA-256, AES-256-GCM; see src/ferryman/config/intake.py.
const form = document.querySelector("[data-seal]");
const problem = document.querySelector("#problem");
const text = new TextEncoder();
const KEM = Uint8Array.of(75, 69, 77, 0, 0x20); // "KEM", DHKEM(X25519, HKDF-SHA256)
const SUITE = Uint8Array.of(72, 80, 75, 69, 0, 0x20, 0, 1, 0, 2); // "HPKE", and all three
const NONE = new Uint8Array(0);
const LENGTH = { key: 32, nonce: 12 };

function joined(...parts) {
  const bytes = parts.map((part) => (typeof part === "string" ? text.encode(part) : part));
  const all = new Uint8Array(bytes.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of bytes) { all.set(each, at); at += each.length; }
  return all;
}

async function mac(key, data) {
  const usable = key.length ? key : new Uint8Array(32); // HMAC fills up with zeros anyway
  const held = await crypto.subtle.importKey("raw", usable, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", held, data));
}

const extract = (suite, salt, label, data) => mac(salt, joined("HPKE-v1", suite, label, data));

async function expand(suite, key, label, info, length) { // up to 32 bytes: one block
  const data = joined(Uint8Array.of(0, length), "HPKE-v1", suite, label, info, Uint8Array.of(1));
  return (await mac(key, data)).slice(0, length);
}

async function seal(publicKey, info, secret) {
  const ours = await crypto.subtle.generateKey("X25519", false, ["deriveBits"]);
  const sent = new Uint8Array(await crypto.subtle.exportKey("raw", ours.publicKey));
  const theirs = await crypto.subtle.importKey("raw", publicKey, "X25519", false, []);
  const bits = await crypto.subtle.deriveBits({ name: "X25519", public: theirs }, ours.privateKey, 256);
  const first = await extract(KEM, NONE, "eae_prk", new Uint8Array(bits));
  const shared = await expand(KEM, first, "shared_secret", joined(sent, publicKey), LENGTH.key);
  const context = joined(
    Uint8Array.of(0),
    await extract(SUITE, NONE, "psk_id_hash", NONE),
    await extract(SUITE, NONE, "info_hash", info),
  );
  const root = await extract(SUITE, shared, "secret", NONE);
  const key = await expand(SUITE, root, "key", context, LENGTH.key);
  const iv = await expand(SUITE, root, "base_nonce", context, LENGTH.nonce);
  const cipher = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return joined(sent, new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, cipher, text.encode(secret))));
}

async function intake() {
  const headers = { "x-ferryman-proof": document.body.dataset.proof };
  const reply = await fetch("/vault/intake", { method: "POST", headers });
  if (!reply.ok) throw new Error("That did not work: load the page again.");
  const said = await reply.json();
  if (said.problem) throw new Error(said.problem);
  return Uint8Array.from(atob(said.key), (each) => each.charCodeAt(0));
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = form.querySelector("[data-secret]");
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    if (!globalThis.crypto?.subtle) {
      throw new Error("This browser seals only over https, or on the machine itself. Use `ferryman vault set`.");
    }
    const name = (form.elements.name ?? form.elements.provider).value;
    const info = joined("ferryman vault intake v1\n", name);
    const sealed = await seal(await intake(), info, field.value);
    form.elements.sealed.value = btoa(String.fromCharCode(...sealed));
    field.value = "";
    field.required = false;
    form.submit();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    button.disabled = false;
  }
});

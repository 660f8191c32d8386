// Certificates for the tests, made from nothing but Node's own cryptography: an Ed25519 key signs for itself.

import { createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";

const der = (tag, ...parts) => {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const { length } = content;
  // As short as it can be: readers insist on it.
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), content]);
};
const sequence = (...parts) => der(0x30, ...parts);
const ED25519 = sequence(der(0x06, [0x2b, 0x65, 0x70]));
const ENCODING = { type: "pkcs8", format: "pem" };

/** `YYYYMMDDHHMMSSZ` of a day that many days from now. */
function day(days) {
  const text = new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19);
  return der(0x18, `${text.replace(/[-T:]/g, "")}Z`);
}

/** A new Ed25519 key; its private half as PEM, its public half as PEM and as the hexadecimal text that flags take. */
export function makeKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url");
  return { pem: privateKey.export(ENCODING), publicPem: publicKey.export({ type: "spki", format: "pem" }), hex: raw.toString("hex") };
}

/** A certificate for localhost and `key`, signed by that key itself, as PEM. */
export function certify(key, name = "localhost") {
  const commonName = sequence(der(0x06, [0x55, 0x04, 0x03]), der(0x0c, name));
  const names = sequence(der(0x31, commonName));
  const alternatives = der(0x82, "localhost");
  const subjectAltName = sequence(der(0x06, [0x55, 0x1d, 0x11]), der(0x04, sequence(alternatives)));
  const body = sequence(
    der(0xa0, der(0x02, [2])), // version 3
    der(0x02, [1], randomBytes(8)),
    ED25519,
    names,
    sequence(day(-1), day(2)),
    names,
    createPublicKey(key.pem).export({ type: "spki", format: "der" }),
    der(0xa3, sequence(subjectAltName)),
  );
  const signature = sign(null, body, key.pem);
  const base64 = sequence(body, ED25519, der(0x03, [0], signature)).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${base64.match(/.{1,64}/g).join("\n")}\n-----END CERTIFICATE-----\n`;
}

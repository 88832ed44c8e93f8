"use strict";
// Checks proofs of records as schemas/standalone/piperoll_verify.py does (PROOF_FORMAT.md section 4), with WebCrypto alone.
// Refused: it does not show what it says. Unchecked: nothing is known of it.
class Refused extends Error {}
class Unchecked extends Error {}

const Piperoll = (() => {
  const RECORD_BYTES = 227;
  const KIND_LOG = 1;
  const KIND_COSIGNER = 4;
  const text = new TextEncoder();

  const require = (holds, why) => { if (!holds) throw new Refused(why); };
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

  const join = (...parts) => {
    const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { made.set(part, at); at += part.length; }
    return made;
  };

  const unbase64 = (given, what, length) => {
    let raw;
    try { raw = atob(given); } catch { throw new Refused(`${what} is not base64`); }
    require(typeof given === "string" && btoa(raw) === given, `${what} is base64 in a second spelling`);
    require(length === undefined || raw.length === length, `${what} has ${raw.length} bytes, not ${length}`);
    return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
  };

  const decimal = (given, what) => {
    require(/^(0|[1-9][0-9]{0,15})$/.test(given) && Number(given) <= Number.MAX_SAFE_INTEGER, `${what} is not a number`);
    return Number(given);
  };

  const subtle = () => {
    if (!globalThis.crypto || !crypto.subtle) throw new Unchecked("this browser offers no WebCrypto here");
    return crypto.subtle;
  };
  const sha256 = async (bytes) => new Uint8Array(await subtle().digest("SHA-256", bytes));
  const leafHash = (data) => sha256(join([0], data));
  const nodeHash = (left, right) => sha256(join([1], left, right));

  const keyId = async (name, kind, key) => (await sha256(join(text.encode(`${name}\n`), [kind], key))).slice(0, 4);
  const goodName = (name) => name !== "" && !/[\s+]/u.test(name);

  const readKey = async (vkey) => {
    const parts = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey);
    require(parts && goodName(parts[1]), "not a verifier key");
    const raw = unbase64(parts[3], "the key");
    const key = { name: parts[1], kind: raw[0], bytes: raw.slice(1), id: await keyId(parts[1], raw[0], raw.slice(1)) };
    require(hex(key.id) === parts[2], "the key id does not fit the key");
    require(![KIND_LOG, KIND_COSIGNER].includes(key.kind) || key.bytes.length === 32, "a key of another length");
    return key;
  };

  // Signed notes: text, blank line, signature lines (https://c2sp.org/signed-note).
  const readNote = (note) => {
    require(!/[\x00-\x09\x0b-\x1f]/.test(note), "a note has control characters");
    const cut = note.lastIndexOf("\n\n");
    require(cut >= 0 && note.endsWith("\n") && note.length > cut + 2, "not a signed note");
    const signatures = note.slice(cut + 2, -1).split("\n").map((line) => {
      const words = line.split(" ");
      require(words.length === 3 && words[0] === "\u2014" && goodName(words[1]), "not a signature line");
      const raw = unbase64(words[2], "a signature");
      require(raw.length > 4, "a signature is too short");
      return { name: words[1], id: raw.slice(0, 4), value: raw.slice(4) };
    });
    require(signatures.length <= 100, "more than 100 signatures");
    return { text: note.slice(0, cut + 1), signatures };
  };

  const verifyEd25519 = async (key, signature, message) => {
    let imported;
    try {
      imported = await subtle().importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
    } catch (error) {
      if (error instanceof Unchecked) throw error;
      if (error.name === "DataError") throw new Refused(`${key.name} has no key that can sign`);
      throw new Unchecked("this browser cannot check Ed25519 signatures");
    }
    require(await subtle().verify({ name: "Ed25519" }, imported, signature, message), `the signature of ${key.name} is not good`);
  };

  const checkSignature = async (key, noteText, value) => {
    if (key.kind === KIND_LOG) {
      await verifyEd25519(key, value, text.encode(noteText));
      return null;
    }
    if (key.kind !== KIND_COSIGNER) throw new Unchecked(`this page cannot check signatures of ${key.name}'s kind`);
    require(value.length > 8, `the cosignature of ${key.name} is too short`);
    const seconds = new DataView(value.buffer, value.byteOffset).getBigUint64(0);
    await verifyEd25519(key, value.slice(8), text.encode(`cosignature/v1\ntime ${seconds}\n${noteText}`));
    return Number(seconds);
  };

  // The keys that signed, with the time that a cosigner states. A bad signature by one of them refuses the whole note.
  const signedBy = async (note, keys) => {
    const { text: noteText, signatures } = readNote(note);
    const found = new Map();
    for (const signature of signatures) {
      for (const key of keys) {
        if (signature.name === key.name && same(signature.id, key.id)) {
          const time = await checkSignature(key, noteText, signature.value);
          if (!found.has(key)) found.set(key, time);
        }
      }
    }
    return found;
  };

  const readCheckpoint = (noteText) => {
    const lines = noteText.slice(0, -1).split("\n");
    require(lines.length >= 3 && lines.every(Boolean), "a checkpoint has lines for origin, size and root");
    return { origin: lines[0], size: decimal(lines[1], "the size of a checkpoint"), root: unbase64(lines[2], "a root", 32) };
  };

  // Merkle trees (RFC 9162 section 2.1). Numbers stay below 2^53, so no bit operators.
  const checkInclusion = async (leaf, index, size, hashes, root, what) => {
    require(index >= 0 && index < size, `${what} is not in a tree of ${size}`);
    let node = index, last = size - 1, made = leaf;
    for (const hash of hashes) {
      require(last > 0, `the proof of ${what} is too long`);
      if (node % 2 === 1 || node === last) {
        made = await nodeHash(hash, made);
        while (node % 2 === 0 && node > 0) { node = Math.floor(node / 2); last = Math.floor(last / 2); }
      } else {
        made = await nodeHash(made, hash);
      }
      node = Math.floor(node / 2);
      last = Math.floor(last / 2);
    }
    require(last === 0, `the proof of ${what} is too short`);
    require(same(made, root), `${what} is not in the tree that was signed: it was changed, or never was there`);
  };

  const readTlogProof = (given, what) => {
    require(typeof given === "string", `${what} is missing`);
    const cut = given.indexOf("\n\n");
    const lines = given.slice(0, Math.max(cut, 0)).split("\n");
    require(lines.length > 1 && lines[0] === "c2sp.org/tlog-proof@v1" && lines[1].startsWith("index "), `${what} is not a tlog-proof`);
    return {
      index: decimal(lines[1].slice(6), "an index"),
      hashes: lines.slice(2).map((line) => unbase64(line, "a hash", 32)),
      note: given.slice(cut + 2),
    };
  };

  // Policies (https://c2sp.org/tlog-policy); a verifier key alone is a policy that asks for no witness.
  const readPolicy = async (given) => {
    if (given.trim() === "") throw new Unchecked("no key stands in this page; give one that you got elsewhere.");
    try {
      return await parsePolicy(given.trim());
    } catch (error) {
      if (error instanceof Refused) throw new Unchecked(`the key or policy cannot be used: ${error.message}.`);
      throw error;
    }
  };

  const parsePolicy = async (trimmed) => {
    if (/^[^\s#]+\+[0-9a-f]{8}\+\S+$/.test(trimmed)) {
      return { logs: [await readKey(trimmed)], witnesses: new Map(), groups: new Map(), quorum: "none" };
    }
    const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: null };
    for (const line of trimmed.split("\n")) {
      const words = line.trim().split(/[ \t]+/);
      if (words[0] === "" || words[0].startsWith("#")) continue;
      await takeLine(policy, words);
    }
    require(policy.quorum !== null && policy.logs.length > 0, "the policy has no quorum line, or no log");
    return policy;
  };

  const takeLine = async (policy, [what, ...rest]) => {
    const knows = (name) => policy.witnesses.has(name) || policy.groups.has(name);
    if (what === "log" && rest.length >= 1 && rest.length <= 2) {
      const key = await readKey(rest[0]);
      require(key.kind === KIND_LOG && !policy.logs.some((log) => same(log.bytes, key.bytes)), "not an Ed25519 key of a log, or twice");
      policy.logs.push(key);
    } else if (what === "witness" && rest.length >= 2 && rest.length <= 3) {
      require(rest[0] !== "none" && !knows(rest[0]), `the name ${rest[0]} is taken`);
      policy.witnesses.set(rest[0], await readKey(rest[1]));
    } else if (what === "group" && rest.length > 2) {
      const [name, threshold, ...members] = rest;
      require(name !== "none" && !knows(name) && members.every(knows) && new Set(members).size === members.length, "a group that cannot be");
      const least = { any: 1, all: members.length }[threshold] ?? decimal(threshold, "the threshold");
      require(least >= 1 && least <= members.length, "a threshold that cannot be");
      policy.groups.set(name, { least, members });
    } else {
      require(what === "quorum" && rest.length === 1 && policy.quorum === null && (rest[0] === "none" || knows(rest[0])), "not a line of a policy");
      policy.quorum = rest[0];
    }
  };

  const isMet = (policy, names, by = policy.quorum) => {
    const group = policy.groups.get(by);
    if (group) return group.members.filter((member) => isMet(policy, names, member)).length >= group.least;
    return by === "none" || names.includes(by);
  };

  const readSeal = (leaf) => {
    const view = new DataView(leaf.buffer, leaf.byteOffset, leaf.byteLength);
    require(leaf.length >= 34 && new TextDecoder().decode(leaf.slice(0, 14)) === "audit-seal/v1\n", "seal_leaf is not a seal");
    const count = view.getUint32(30);
    require(leaf.length === 34 + count * 64, "the seal has another length than it says");
    const chains = new Map();
    for (let at = 34; at < leaf.length; at += 64) {
      chains.set(hex(leaf.slice(at, at + 16)), { size: Number(view.getBigUint64(at + 16)), root: leaf.slice(at + 24, at + 56) });
    }
    return { number: Number(view.getBigUint64(14)), timeUs: view.getBigUint64(22), chains };
  };

  const readRecord = (leaf) => {
    const view = new DataView(leaf.buffer, leaf.byteOffset, leaf.byteLength);
    require(new TextDecoder().decode(leaf.slice(0, 13)) === "audit-rec/v1\n", "leaf is not an audit-rec/v1 record");
    return {
      kind: leaf[13], chain: hex(leaf.slice(14, 30)), seq: Number(view.getBigUint64(30)),
      payload: leaf.slice(163, 195), enrichment: leaf.slice(195, 227),
    };
  };

  // Answers are remembered, since many proofs share one seal and its signatures.
  const remembering = (make) => {
    const known = new Map();
    return (policy, ...rest) => {
      const name = JSON.stringify(rest);
      if (known.policy !== policy) { known.clear(); known.policy = policy; }
      if (!known.has(name)) known.set(name, make(policy, ...rest));
      return known.get(name);
    };
  };

  const checkSeal = remembering(async (policy, sealLeaf, sealProof) => {
    const leaf = unbase64(sealLeaf, "seal_leaf");
    const { index, hashes, note } = readTlogProof(sealProof, "seal_proof");
    const signers = await signedBy(note, [...policy.logs, ...policy.witnesses.values()]);
    const { origin, size, root } = readCheckpoint(readNote(note).text);
    require([...signers.keys()].some((key) => key.name === origin && policy.logs.includes(key)), "no log of the policy signed the seal");
    await checkInclusion(await leafHash(leaf), index, size, hashes, root, "the seal");
    const cosigned = [...policy.witnesses].filter(([, key]) => signers.has(key)).map(([name]) => name);
    require(isMet(policy, cosigned), `the quorum ${policy.quorum} is not reached`);
    const seal = readSeal(leaf);
    require(seal.number === index, "the seal's number is not its place in the seal log");
    return { ...seal, origin, cosigned };
  });

  const signedTree = remembering(async (policy, origin, note) => {
    const keys = await Promise.all(policy.logs.map(async (log) => ({
      name: origin, kind: KIND_LOG, bytes: log.bytes, id: await keyId(origin, KIND_LOG, log.bytes),
    })));
    require((await signedBy(note, keys)).size > 0, "no key of the policy signed the chain's checkpoint");
    return readCheckpoint(readNote(note).text);
  });

  const openContent = async (part, label, commitment, inner) => {
    if (part === null) return null;
    const data = unbase64(part[inner], inner);
    const made = await sha256(join(text.encode(label), unbase64(part.salt, "a salt", 32), data));
    require(same(made, commitment), `the ${inner} is not what the record commits to: it or its salt was changed`);
    return data;
  };

  // The message's value: opt(key) opt(value) …, opt = 00 | 01 u32 bytes; null for a null.
  const valueOf = (body) => {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    let at = 0, start = 0, length = null;
    for (let turn = 0; turn < 2; turn += 1) {
      require(body[at] === 0 || (body[at] === 1 && at + 5 <= body.length), "the payload is not a body");
      length = body[at] ? view.getUint32(at + 1) : null;
      start = at + 5;
      at = length === null ? at + 1 : start + length;
      require(at <= body.length, "the payload ends too soon");
    }
    return length === null ? null : body.slice(start, at);
  };

  // All that a proof file (parsed) shows under a policy.
  const check = async (proof, policy) => {
    const fields = ["chain_proof", "enrichment", "format", "leaf", "payload", "seal_leaf", "seal_proof"];
    require(proof && proof.format === "piperoll-proof/v1" && Object.keys(proof).sort().join() === fields.join(), "not a proof file of format piperoll-proof/v1");
    const seal = await checkSeal(policy, proof.seal_leaf, proof.seal_proof);
    const leaf = unbase64(proof.leaf, "leaf", RECORD_BYTES);
    const record = readRecord(leaf);
    const { index, hashes, note } = readTlogProof(proof.chain_proof, "chain_proof");
    const origin = readNote(note).text.split("\n", 1)[0];
    if (!seal.origin.endsWith("/seal")) throw new Unchecked(`the log of the policy is ${seal.origin}; the name of a seal log ends in /seal`);
    const [, topic, partition, tail] = /^\/([^/]+)\/([0-9]+)\/([0-9a-f]{16})$/.exec(origin.slice(seal.origin.length - 5)) ?? [];
    require(origin.startsWith(seal.origin.slice(0, -5)) && tail === record.chain.slice(0, 16), `${origin} is not the chain's origin`);
    const tree = await signedTree(policy, origin, note);
    const hash = await leafHash(leaf);
    await checkInclusion(hash, index, tree.size, hashes, tree.root, "the record");
    require(index === record.seq, "the record's number is not its place in the tree");
    const sealed = seal.chains.get(record.chain);
    require(sealed, "the seal does not list the chain of the record");
    require(sealed.size === tree.size && same(sealed.root, tree.root), "the seal lists the chain with another size or root than its checkpoint");
    const body = await openContent(proof.payload, "audit-pay/v1\n", record.payload, "body");
    await openContent(proof.enrichment, "audit-enr/v1\n", record.enrichment, "json");
    return { hash: hex(hash), seq: record.seq, topic, partition, seal: seal.number, sealTimeUs: seal.timeUs, origin: seal.origin, cosigned: seal.cosigned, value: body && valueOf(body) };
  };

  const fingerprint = async (key) => hex(await sha256(key.bytes));

  return { check, readPolicy, sha256, hex, fingerprint };
})();

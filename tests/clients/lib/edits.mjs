// Random edits that mean something in both document families, so that they can be mixed in one room.

const FORMATS = [{ bold: true }, { bold: null }, { italic: true, color: 'red' }, { color: null }, { link: { href: 'x' } }]

/** Makes one random edit to one of the roots `text`, `map`, `list`, `xml` of `doc`. */
export function randomEdit (random, kit, doc) {
  const roll = random.int(100)
  if (roll < 50) editText(random, kit.text(doc, 'text'))
  else if (roll < 65) editMap(random, kit.map(doc, 'map'))
  else if (roll < 85) editList(random, kit.list(doc, 'list'))
  else editXml(random, kit.xml(doc, 'xml'))
}

function editText (random, text) {
  const length = text.length()
  const at = random.int(length + 1)
  const rest = length - at
  const roll = random.int(10)
  if (rest > 0 && roll < 3) text.remove(at, Math.min(rest, 1 + random.int(8)))
  else if (rest > 0 && roll < 5) text.format(at, Math.min(rest, 1 + random.int(12)), random.pick(FORMATS))
  else if (roll === 5) text.embed(at, { image: random.word() }, {})
  else text.insert(at, random.word(), random.chance(0.3) ? { bold: true } : {})
}

function editMap (random, map) {
  const key = `key${random.int(8)}`
  if (random.chance(0.2)) map.remove(key)
  else map.set(key, randomValue(random))
}

function editList (random, list) {
  const length = list.length()
  const at = random.int(length + 1)
  if (at < length && random.chance(0.35)) list.remove(at, Math.min(length - at, 1 + random.int(3)))
  else list.insert(at, Array.from({ length: 1 + random.int(3) }, () => randomValue(random)))
}

function editXml (random, xml) {
  const length = xml.length()
  const at = random.int(length + 1)
  const roll = random.int(10)
  if (at < length && roll < 2) return xml.remove(at, 1)
  if (at < length && roll < 6) {
    const element = xml.child(at)
    if (random.chance(0.3)) element.removeAttribute(`a${random.int(4)}`)
    else element.setAttribute(`a${random.int(4)}`, random.word())
    return
  }
  xml.insert(at, [{ name: random.pick(['p', 'h1', 'li']), attrs: { id: random.word() }, children: [{ name: 'b', attrs: {}, children: [] }] }])
}

function randomValue (random) {
  switch (random.int(10)) {
    case 0: return random.word()
    case 1: return random.int(1 << 20) - (1 << 19)
    case 2: return random.next()
    case 3: return [BigInt(random.int(1 << 30)) * 4294967297n] // yjs 13 takes no bare bigint into a list
    case 4: return -0
    case 5: return { deep: [random.word(), null, { n: 1n }], flag: true }
    case 6: return Uint8Array.from({ length: random.int(6) }, () => random.int(256))
    case 7: return { $map: { k: random.word(), inner: { $list: [1, 2] } } }
    case 8: return { $list: [random.word(), { $text: random.word() }] }
    default: return null
  }
}

// The page on which the API can be tried, in a real browser: every endpoint is there, and a document is written and read by its forms.
// Usage: YHUB_URL=http://127.0.0.1:4400 node page.mjs (with the browser that CHROMIUM names, or `chromium`)
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import puppeteer from 'puppeteer-core'

const root = process.env.YHUB_URL
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // In a container there is often no sandbox to be had, and little shared memory.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
})
try {
  const page = await browser.newPage()
  const complaints = []
  page.on('console', message => ['error', 'warn'].includes(message.type()) && complaints.push(message.text()))
  page.on('pageerror', error => complaints.push(String(error)))
  await page.goto(`${root}/api/docs`, { waitUntil: 'networkidle0' })
  const described = await (await fetch(`${root}/api/openapi.json`)).json()
  const ids = Object.values(described.paths).flatMap(path => Object.values(path).map(operation => operation.operationId))
  assert.ok(ids.length > 10, `${ids.length} endpoints`)
  for (const id of ids) assert.ok(await page.$(`details#${id}`), `the page lacks ${id}`)

  // Fills the form of an endpoint and gives what the page shows then.
  const send = async (id, values) => {
    await page.$eval(`#${id}`, details => { details.open = true })
    for (const [name, value] of Object.entries(values)) {
      const field = await page.$(`#${id} [name="${name}"]`)
      assert.ok(field, `${id} lacks ${name}`)
      if (await field.evaluate(element => element.tagName) === 'SELECT') await field.select(value)
      else { await field.evaluate(element => { element.value = '' }); await field.type(value) }
    }
    await page.click(`#${id} button`)
    await page.waitForFunction(id => /^\d{3} /.test(document.querySelector(`#${id} pre`).textContent), { timeout: 20_000 }, id)
    return page.$eval(`#${id} pre`, pre => pre.textContent)
  }
  // A name that would be markup, and another path, if it were not kept apart.
  const of = { org: 'acme', docid: '<b>a/b</b>' }
  const written = await send('patch_ydoc', { ...of, user: 'ann', update: 'AQEBAAQBAXQCaGkA', customAttributions: '[{"k":"source","v":"page"}]' })
  assert.match(written, /^200 OK\netag: "\d+-\d+\/json"\n\n\{\n {2}"success": true/)
  assert.match(await send('get_ydoc', { ...of, view: 'json' }), /"t": "hi"/)
  const activity = await send('get_activity', { ...of, customAttributions: 'true', delta: 'true' })
  assert.match(activity, /"by": "ann"/)
  assert.match(activity, /"v": "page"/)
  assert.match(await send('get_activity', { ...of, limit: '-1' }), /^400 Bad Request[^]*invalid-query/)
  assert.match(await send('post_rollback', { ...of, by: 'ann' }), /^200 OK/)
  assert.match(await send('get_ydoc', { ...of, view: 'json', roots: 't:text' }), /"t": ""/)
  assert.deepEqual(complaints.filter(text => !text.includes('400')), [])
  if (process.env.YHUB_SCREENSHOT) {
    await page.$$eval('details', all => all.forEach(details => { details.open = details.id === 'get_activity' }))
    writeFileSync(process.env.YHUB_SCREENSHOT, await page.screenshot({ fullPage: false }))
  }
  console.log(`${ids.length} endpoints, written and read by their forms`)
} finally {
  await browser.close()
}

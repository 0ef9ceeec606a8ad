// Drives stock clients against a hub that wants to know who they are, and prints which stack can do what.
//
//     YHUB__AUTH__MODE='["jwt","token"]' YHUB__JWT__SECRET=$YHUB_SECRET YHUB__JWT__LEEWAY_MS=0 \
//       YHUB__AUTH__SWEEP_MS=0 YHUB__LIMITS__FAILED_AUTH_PER_MINUTE=0 yhub
//     YHUB_URL=ws://127.0.0.1:4400 node credentials.mjs [--stacks y1,y4] [--only 'regular expression']
//
// Refusals are meant, and all clients have one address: hence no bound on failed attempts. Exits with 0 only if every cell holds.

import './capabilities/credentials.mjs'
import { runSuite } from './lib/suite.mjs'
import { chosenStacks } from './lib/stacks.mjs'

runSuite(chosenStacks())

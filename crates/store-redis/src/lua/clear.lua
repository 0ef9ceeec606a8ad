-- Empties a stream without deleting it: its clocks go on, and no second task is enqueued. KEYS: stream, meta.
-- Returns how many entries it held.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return 0 end
local count = redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', 0)
redis.call('HSET', KEYS[2], 'trimmed', last[1], 'last', later(last[1], redis.call('HGET', KEYS[2], 'last') or nil))
redis.call('PEXPIRE', KEYS[2], META_TTL_MS)
return count

-- Is an entry there, or was it trimmed? KEYS: stream, meta. ARGV: clock. Returns 1 or 0.
if redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1], 'COUNT', 1)[1] then return 1 end
local trimmed = redis.call('HGET', KEYS[2], 'trimmed')
if trimmed and not before(trimmed, ARGV[1]) then return 1 end
return 0

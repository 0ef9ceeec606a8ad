-- Erases a stream that was set aside. KEYS: aside. Returns how many entries it held; nothing if there is no such stream.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local count = redis.call('XLEN', KEYS[1])
redis.call('UNLINK', KEYS[1])
return count

-- Later claims get epochs above a known one. KEYS: epoch. ARGV: the known one.
local epoch = tonumber(redis.call('GET', KEYS[1]) or '0')
if epoch < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], text(tonumber(ARGV[1]))) end
return 1

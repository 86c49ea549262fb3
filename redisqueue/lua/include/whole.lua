-- whole returns the number that a text says, if it is a positive whole one of at most 16 digits, as the scripts write
-- them; 0 for everything else, nothing included.
local function whole(text)
  if text and #text <= 16 and string.match(text, '^[1-9]%d*$') then
    return tonumber(text)
  end
  return 0
end

// The picture of a product without a photo: the colour of its category, an icon, and a turn of its own.

import { html, icon } from "/static/ui.js";

// The first that matches, of the title and then of the category, gives icon and hue.
const KINDS = [
  [/banana/i, "banana", 95],
  [/\b(cat|kitten)\b/i, "cat", 70], [/\bdog|puppy/i, "dog", 60], [/bird/i, "bird", 90], [/\bpet\b/i, "paw-print", 65],
  [/bab(y|ies)|infant|diaper/i, "baby", 235],
  [/pizza/i, "pizza", 45], [/ice cream|sherb|novelt/i, "ice-cream-cone", 350], [/sushi|fish|tuna|salmon/i, "fish", 220],
  [/seafood|shrimp|crab|shell ?fish/i, "shell", 25], [/bacon|ham\b|pork|lunchmeat|deli meat|sausage|hot dog|smoked/i, "ham", 15],
  [/chicken|turkey|poultry|fowl/i, "drumstick", 50], [/beef|lamb|veal|meat/i, "beef", 20],
  [/peanut/i, "nut", 60], [/yogurt|milk|cream|dairy|formula/i, "milk", 225], [/cheese|butter|margarine/i, "milk", 92], [/\begg/i, "egg", 80],
  [/wine|liquor|spirits/i, "wine", 0], [/beer|\bale/i, "beer", 78],
  [/coffee|\btea|cocoa/i, "coffee", 48], [/water|ice$/i, "glass-water", 215], [/soft drink|soda|cola/i, "cup-soda", 12],
  [/juice|drink|beverage|isotonic|new age/i, "cup-soda", 70],
  [/citrus|orange|lemon|grapefruit/i, "citrus", 68], [/grape/i, "grape", 305], [/cherr|berr|stone fruit|peach/i, "cherry", 10],
  [/apple|pear|fruit|melon/i, "apple", 22], [/carrot/i, "carrot", 55],
  [/onion|potato|squash|corn|tomato|pepper|broccoli|mushroom|vegetable/i, "carrot", 130],
  [/salad|lettuce|herb|organic/i, "salad", 140], [/bean|rice|olive/i, "bean", 75], [/soup|sauce|gravy|condiment|chili/i, "soup", 35],
  [/popcorn/i, "popcorn", 85], [/nut|seed/i, "nut", 60], [/candy|chocolate|gum/i, "candy", 340], [/cookie|cracker/i, "cookie", 62],
  [/donut|sweet goods|breakfast sweet/i, "donut", 345], [/cake|pie|dessert|pastry/i, "cake-slice", 335],
  [/croissant|roll|bun|bread|bak(ed|ing|ery)|dough/i, "croissant", 70], [/cereal|flour|pasta|noodle|wheat|mixes|grain|sugar|syrup/i, "wheat", 82],
  [/snack|chips/i, "popcorn", 58], [/sandwich/i, "sandwich", 65], [/frozen|freez/i, "snowflake", 230],
  [/spice|extract|oil|pickle/i, "leaf", 120], [/hispanic|ethnic|prepared|dinner|heat|party|deli|restaurant|chef|serve/i, "utensils", 40],
  [/vitamin|analgesic|cold and flu|antacid|sinus|laxative|pharm|pill/i, "pill", 200], [/first aid|health|foot|eye and ear/i, "bandage", 18],
  [/fitness|diet/i, "heart-pulse", 160], [/hair|shav/i, "scissors", 290], [/makeup|cosmetic|fragrance|nail/i, "palette", 330],
  [/soap|bath|hand|body|facial|deodor|oral|hygiene|feminine/i, "bath", 195], [/tissue|towel|napkin|paper/i, "toilet", 250],
  [/laundry|bleach|detergent|clean|air care|broom|insect/i, "spray-can", 190], [/candle|charcoal|lighter|firework|propane/i, "flame", 40],
  [/fuel|gasoline|automotive/i, "fuel", 260], [/cigar|tobacco|smok/i, "flame", 30],
  [/flor|rose|lily|bouquet|flower/i, "flower-2", 345], [/garden|lawn|plant/i, "sprout", 135],
  [/card|gift|party|christmas|easter|valentine|halloween|season/i, "gift", 5], [/magazine|newspaper/i, "newspaper", 255],
  [/book/i, "book", 265], [/pen\b|stationer|school/i, "pencil", 245], [/toy|game/i, "toy-brick", 40],
  [/batter/i, "battery", 145], [/electric|bulb/i, "lightbulb", 88], [/audio|video|wireless|phone/i, "monitor", 270], [/film|photo|camera/i, "camera", 275],
  [/hosiery|sock|apparel|shoe/i, "shirt", 280], [/hardware|sewing/i, "hammer", 50], [/glasses|vision/i, "glasses", 240],
  [/kitchen|cookware|houseware|glassware|domestic|wrap|foil|gadget/i, "microwave", 205],
];

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619) >>> 0;
  return value;
}

const known = new Map();

export function kindOf(title, category) {
  const key = `${category}\n${title}`;
  if (!known.has(key)) {
    const [banana] = KINDS; // "Tropical Fruit" says less than the title
    const found = (banana[0].test(title) && banana) || (KINDS.find(([pattern]) => pattern.test(category)) ?? KINDS.find(([pattern]) => pattern.test(title)));
    known.set(key, found ? { name: found[1], hue: found[2] } : { name: "", hue: hash(category || title) % 360 });
  }
  return known.get(key);
}

const monogram = (text) => (text.match(/[\p{L}\p{N}]+/gu) ?? ["?"]).slice(0, 2).map((word) => word[0]).join("").toUpperCase();

// `item` has item_id, title and category; the same item always looks the same.
export function tile(item, kind = "") {
  const { name, hue } = kindOf(item.title, item.category);
  const own = hash(item.item_id);
  const style = `--hue:${(hue + (own % 25) - 12 + 360) % 360};--turn:${(own >> 5) % 60 - 30}deg;--x:${15 + ((own >> 11) % 70)}%;--y:${10 + ((own >> 17) % 60)}%`;
  const sign = name ? icon(name) : html`<b>${monogram(item.category || item.title)}</b>`;
  return html`<div class="tile ${kind}" style=${style} aria-hidden="true">${name ? icon(name, "shade") : ""}<span class="sign">${sign}</span></div>`;
}

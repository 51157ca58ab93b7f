// The XHTML of a narrative (`text.div`), read and written again as HAPI does it: well-formed XML
// only; attributes in double quotes and in an order of its own; entities as the characters they
// stand for; empty elements as `<br/>`.
import { FhirError, unparsable } from './errors.ts';
import { HTML_ENTITIES } from '../../../src/shared/html-entities.ts';

const XHTML = 'http://www.w3.org/1999/xhtml';
const NAME = '[A-Za-z_][\\w.\\-]*(?::[A-Za-z_][\\w.\\-]*)?';

interface ElementNode {
  kind: 'element';
  name: string;
  attributes: Map<string, string>;
  children: Node[];
}

interface TextNode {
  kind: 'text' | 'comment' | 'cdata';
  text: string;
}

type Node = ElementNode | TextNode;

/**
 * @param text - what a client sent as `text.div`
 * @returns the same narrative in HAPI's spelling; undefined for an empty one
 * @throws FhirError 400 HAPI-1755 for text that is not well-formed, 500 where the outer element is
 *   not a `div`
 */
export function normalizeNarrative(text: string): string | undefined {
  if (text === '') {
    return undefined;
  }
  const trimmed = text.trim();
  if (trimmed === '') {
    throw new FhirError(500, 'String index out of range: 0');
  }
  const source = trimmed.startsWith('<') ? trimmed : `<div xmlns="${XHTML}">${trimmed}</div>`;
  const root = new XhtmlReader(source).readDocument();
  if (root.name !== 'div') {
    throw new FhirError(500, `Unable to Parse HTML - starts with '${root.name}' not 'div'`);
  }
  if (root.children.length === 0) {
    return undefined;
  }
  if (!root.attributes.has('xmlns')) {
    root.attributes.set('xmlns', XHTML);
  }
  return write(root);
}

function malformed(reason: string): FhirError {
  return unparsable(
    `HAPI-1755: String does not appear to be valid XML/XHTML (error is "${reason}")`,
  );
}

class XhtmlReader {
  private readonly source: string;
  private position = 0;

  constructor(source: string) {
    this.source = source;
  }

  readDocument(): ElementNode {
    this.skipProlog();
    if (this.peek('<!')) {
      throw malformed('a document type is not allowed');
    }
    const root = this.readElement();
    this.skipProlog();
    if (this.position < this.source.length) {
      throw malformed('only one root element is allowed');
    }
    return root;
  }

  private skipProlog(): void {
    this.match(/(\s|<\?[\s\S]*?\?>|<!--[\s\S]*?-->)*/y);
  }

  private peek(text: string): boolean {
    return this.source.startsWith(text, this.position);
  }

  /** Reads what the expression (with flag `y`) matches at this position. */
  private match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.position;
    const found = expression.exec(this.source) ?? undefined;
    this.position += found?.[0].length ?? 0;
    return found;
  }

  private readElement(): ElementNode {
    const [, name = ''] = this.match(new RegExp(`<(${NAME})`, 'y')) ?? [];
    if (name === '') {
      throw malformed(`unexpected character at position ${this.position}`);
    }
    const attributes = this.readAttributes();
    const element: ElementNode = {
      kind: 'element',
      name: withoutPrefix(name),
      attributes,
      children: [],
    };
    if (this.match(/\s*\/>/y)) {
      return element;
    }
    if (!this.match(/\s*>/y)) {
      throw malformed(`unexpected character in <${name}>`);
    }
    this.readChildren(element, name);
    return element;
  }

  private readAttributes(): Map<string, string> {
    const attributes = new Map<string, string>();
    const attribute = new RegExp(`\\s+(${NAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y');
    let found = this.match(attribute);
    while (found) {
      const [, name = '', doubleQuoted, singleQuoted = ''] = found;
      if (attributes.has(name)) {
        throw malformed(`duplicate attribute ${name}`);
      }
      attributes.set(name, decode(doubleQuoted ?? singleQuoted));
      found = this.match(attribute);
    }
    return withoutPrefixes(attributes);
  }

  private readChildren(element: ElementNode, name: string): void {
    while (!this.peek('</')) {
      if (this.position >= this.source.length) {
        throw malformed(`unexpected end; <${name}> is not closed`);
      }
      element.children.push(this.readNode());
    }
    if (!this.match(new RegExp(`</${name}\\s*>`, 'y'))) {
      throw malformed(`unexpected close tag in <${name}>`);
    }
  }

  private readNode(): Node {
    const text = this.match(/[^<]+/y);
    if (text) {
      return { kind: 'text', text: decode(text[0]) };
    }
    const comment = this.match(/<!--([\s\S]*?)-->/y);
    if (comment) {
      return { kind: 'comment', text: comment[1] ?? '' };
    }
    const cdata = this.match(/<!\[CDATA\[([\s\S]*?)\]\]>/y);
    if (cdata) {
      return { kind: 'cdata', text: cdata[1] ?? '' };
    }
    const instruction = this.match(/<(\?[\s\S]*?\?)>/y);
    if (instruction) {
      return { kind: 'comment', text: instruction[1] ?? '' };
    }
    return this.readElement();
  }
}

/** `<h:div xmlns:h="…">` is written as `<div xmlns="…">`. */
function withoutPrefix(name: string): string {
  return name.replace(/^.*:/, '');
}

function withoutPrefixes(attributes: Map<string, string>): Map<string, string> {
  const entries = [...attributes].map(([name, value]): [string, string] => {
    return [name.startsWith('xmlns:') ? 'xmlns' : name, value];
  });
  return new Map(entries);
}

function decode(text: string): string {
  return text.replaceAll(
    /&(?:#x([0-9a-fA-F]+);|#(\d+);|(\w+);)?/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      const codePoint = hex ? Number.parseInt(hex, 16) : Number(decimal ?? Number.NaN);
      if (codePoint <= 0x10_ff_ff) {
        return String.fromCodePoint(codePoint);
      }
      const character = name === undefined ? undefined : HTML_ENTITIES.get(name);
      if (character === undefined) {
        throw malformed(`undeclared entity ${whole}`);
      }
      return character;
    },
  );
}

function write(node: Node): string {
  switch (node.kind) {
    case 'text':
      return encode(node.text);
    case 'comment':
      return `    <!-- ${node.text.trim()} -->`;
    case 'cdata':
      return `    <![CDATA[${node.text}]]>`;
    case 'element': {
      const attributes = sortAttributes(node.attributes).map(
        ([name, value]) => ` ${name}="${encodeAttribute(value)}"`,
      );
      const start = `<${node.name}${attributes.join('')}`;
      if (node.children.length === 0) {
        return `${start}/>`;
      }
      return `${start}>${node.children.map(write).join('')}</${node.name}>`;
    }
  }
}

/**
 * HAPI keeps attributes in a Java HashMap and writes them in its order, which depends on the names
 * alone.
 */
function sortAttributes(attributes: Map<string, string>): [string, string][] {
  const buckets = attributes.size > 12 ? 32 : 16;
  const bucketOf = (name: string): number => {
    const hash = javaHashCode(name);
    return (hash ^ (hash >>> 16)) & (buckets - 1);
  };
  return [...attributes].toSorted(([first], [second]) => bucketOf(first) - bucketOf(second));
}

function javaHashCode(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  }
  return hash;
}

function encode(text: string): string {
  const escaped = text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
  return escaped.replaceAll(/[\u{10000}-\u{10ffff}]/gu, (character) => {
    return `&#x${character.codePointAt(0)!.toString(16).toUpperCase()};`;
  });
}

function encodeAttribute(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

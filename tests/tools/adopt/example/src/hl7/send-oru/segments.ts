export const segment = (name: string, fields: any[]): string => [name, ...fields].join('|');

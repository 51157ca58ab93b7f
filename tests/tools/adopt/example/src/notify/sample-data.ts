export const sampleChannel = 'lab';
